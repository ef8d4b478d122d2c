/**
 * `node test/bench/capacity.ts`: what so many devices need, computed from measured costs of single things. docs/scaling.md shows its
 * output, and says where each number comes from; change a number here when its measurement changes, and paste the tables anew.
 */

/** One sample of 32 bytes a second and device. */
const ROWS_PER_DEVICE_DAY = 86_400

/** docs/performance.md: devices' samples, 100 a call; packing, 32 B: claim. docs/scaling.md, workers: read and write of its chunk. */
const SERVER_CPU_US_PER_ROW = { insert: 22, claim: 0.2, chunk: 2 }
/** docs/performance.md, a sample's life, 32 B: insert, verify and rollup, prune. */
const WAL_BYTES_PER_ROW = 541 + 49 + 4
/** docs/scaling.md, workers: what each job more adds from one worker to eight, which are rollups of a device's hour. */
const PER_ROLLUP = { serverCpuMs: 7, workerCpuMs: 21, walBytes: 16_000 }
/** docs/scaling.md, workers: one worker's CPU less its rollups. */
const WORKER_CPU_US_PER_ROW = 9
/** docs/performance.md: the rollup of an hour's network, of 60 devices in 430 ms; the screen of 499,500 pairs in 0.8 s. */
const NETWORK_S = { perDevice: 0.43 / 60, perMillionPairs: 0.8 }
/** docs/scaling.md: bytes per device and day, 32 B/s. */
const TABLE_BYTES_PER_DEVICE_DAY = 25.4e6
const STORE_BYTES_PER_DEVICE_DAY = 7.66e6 + 0.95e6
/** … of what stays after pruning: a row of hours, and of chunk_analysis per device and chunk. */
const STATS_BYTES_PER_DEVICE_DAY = 0.26e6
const ANALYSIS_BYTES = 0.75e6 / 288
/** What a reader gets over the wire a row of 32 bytes: COPY's binary columns. */
const COPY_BYTES_PER_ROW = 132

/** jobs/pack.ts, nine tenths of CHUNK_MAX_ROWS, and CHUNK_MAX_AGE. */
const CHUNK = { rows: 225_000, seconds: 300 }

/** Dollars; sources and dates in docs/scaling.md. */
const PRICES = {
  plan: 25,
  computeCredit: 10,
  diskGb: 0.125,
  diskIncludedGb: 8,
  egressGb: 0.09,
  egressIncludedGb: 250,
  storageGb: 0.021,
  storageIncludedGb: 100,
  storjTb: 7,
  storjEgressTb: 7,
  storjLeast: 50,
  modalCoreSecond: 0.0000131,
  modalGibSecond: 0.00000222,
  modalTicks: 0.17,
}
const VCPUS_PER_MODAL_CORE = 2
const WORKER_GIB = 0.5
/** [name, dollars a month, cores, connections, pooler clients, GB of database recommended at most] */
const COMPUTE = [
  ['Micro', 10, 2, 60, 200, 10],
  ['Small', 15, 2, 90, 400, 50],
  ['Medium', 60, 2, 120, 600, 100],
  ['Large', 110, 2, 160, 800, 200],
  ['XL', 210, 4, 240, 1000, 500],
  ['2XL', 410, 8, 380, 1500, 1000],
  ['4XL', 960, 16, 480, 3000, 2000],
  ['8XL', 1870, 32, 490, 6000, 4000],
  ['16XL', 3730, 64, 500, 12_000, 10_000],
] as const
/** Of its cores, so that a burst and the web app have room; shared cores are counted at a tenth. */
const CPU_SHARE = 0.4
const SHARED = 0.1
const SMALLEST_DEDICATED = 3

export interface Plan {
  readonly devices: number
  readonly retentionDays: number
  /** Databases that the devices are divided among. */
  readonly projects: number
  /** Within a database: chunks are of the devices of one group only. Today there is one group. */
  readonly groups: number
}

/** What one project of so many devices does a second or day, by itself. */
export function loadOf(devices: number, retentionDays: number, groups: number) {
  const seconds = Math.min(CHUNK.seconds, (CHUNK.rows * groups) / devices)
  const chunks = (groups * 86_400) / seconds
  const devicesPerChunk = Math.min(devices / groups, CHUNK.rows)
  // An upload, a proof and a rollup of the network for each, and a rollup for each device in it.
  const jobsPerSecond = (chunks * (3 + devicesPerChunk)) / 86_400
  const networkSeconds = devices * NETWORK_S.perDevice + (devices / 1000) ** 2 * NETWORK_S.perMillionPairs
  const rowCpu = Object.values(SERVER_CPU_US_PER_ROW).reduce((sum, us) => sum + us, 0) / 1e6
  return {
    chunkSeconds: seconds,
    chunks,
    jobsPerSecond,
    serverCores: devices * rowCpu + (jobsPerSecond * PER_ROLLUP.serverCpuMs) / 1000,
    networkSeconds,
    // One rollup of an hour runs at a time, however many chunks ask for it.
    workerCores:
      (devices * WORKER_CPU_US_PER_ROW) / 1e6 +
      (jobsPerSecond * PER_ROLLUP.workerCpuMs) / 1000 +
      Math.min(1, (networkSeconds * chunks) / 86_400),
    walBytesPerSecond: devices * WAL_BYTES_PER_ROW + jobsPerSecond * PER_ROLLUP.walBytes,
    diskBytes: devices * TABLE_BYTES_PER_DEVICE_DAY * (retentionDays + 0.5),
    growthBytesPerDay: devices * STATS_BYTES_PER_DEVICE_DAY + chunks * devicesPerChunk * ANALYSIS_BYTES,
    partitions: retentionDays + 1 + 7 + 1,
    objectsPerDay: 2 * chunks,
    storeBytesPerDay: devices * STORE_BYTES_PER_DEVICE_DAY,
    databaseEgressPerDay: devices * ROWS_PER_DEVICE_DAY * COPY_BYTES_PER_ROW,
  }
}

/** The whole plan, and dollars in its first month (objects of that month only). */
export function planOf({ devices, retentionDays, projects, groups }: Plan) {
  const one = loadOf(devices / projects, retentionDays, groups)
  const gb = (bytes: number) => bytes / 1e9
  const disk = gb(one.diskBytes + 30 * one.growthBytesPerDay)
  const compute = COMPUTE.find(
    ([, , cores, , , database], index) =>
      one.serverCores <= cores * (index < SMALLEST_DEDICATED ? SHARED : CPU_SHARE) && disk <= database,
  )
  const storedGb = gb(30 * one.storeBytesPerDay * projects)
  const egressGb = gb(30 * one.databaseEgressPerDay * projects)
  const above = (value: number, included: number) => Math.max(0, value - included)
  const supabase =
    compute === undefined
      ? Number.NaN
      : PRICES.plan +
        projects * (compute[1] + above(disk, PRICES.diskIncludedGb) * PRICES.diskGb) -
        PRICES.computeCredit +
        above(egressGb, PRICES.egressIncludedGb) * PRICES.egressGb
  const coreSeconds = 30 * 86_400 * one.workerCores * projects
  const modal =
    projects * PRICES.modalTicks +
    (coreSeconds / VCPUS_PER_MODAL_CORE) * PRICES.modalCoreSecond +
    coreSeconds * WORKER_GIB * PRICES.modalGibSecond
  return {
    ...one,
    compute,
    diskGb: disk,
    storedGb,
    egressGb,
    dollars: {
      supabase,
      modal,
      // Read back once, to prove it.
      storj: Math.max(PRICES.storjLeast, (storedGb / 1000) * (PRICES.storjTb + PRICES.storjEgressTb)),
      supabaseStorage: above(storedGb, PRICES.storageIncludedGb) * PRICES.storageGb + storedGb * PRICES.egressGb,
    },
  }
}

const PLANS: readonly Plan[] = [
  { devices: 100, retentionDays: 30, projects: 1, groups: 1 },
  { devices: 100, retentionDays: 1, projects: 1, groups: 1 },
  { devices: 10_000, retentionDays: 1, projects: 1, groups: 1 },
  { devices: 10_000, retentionDays: 1, projects: 1, groups: 12 },
  { devices: 10_000, retentionDays: 1, projects: 12, groups: 1 },
  { devices: 1_000_000, retentionDays: 1, projects: 1, groups: 1200 },
  { devices: 1_000_000, retentionDays: 1, projects: 1200, groups: 1 },
]

if (import.meta.main) {
  const plans = PLANS.map((plan) => ({ plan, ...planOf(plan) }))
  const row = (name: string, of: (plan: (typeof plans)[number]) => string | number) =>
    `| ${[name, ...plans.map(of)].join(' | ')} |`
  const short = (value: number) =>
    Number.isNaN(value)
      ? '–'
      : value >= 100
        ? Math.round(value).toLocaleString('en-US')
        : String(Number(value.toPrecision(2)))
  const lines = [
    row('', ({ plan }) => plan.devices.toLocaleString('en-US')),
    `| --- |${' ---: |'.repeat(plans.length)}`,
    row('RETENTION_DAYS', ({ plan }) => plan.retentionDays),
    row('projects', ({ plan }) => plan.projects.toLocaleString('en-US')),
    row('groups of devices, each with its chunks', ({ plan }) => plan.groups.toLocaleString('en-US')),
    row('**each project**', () => ''),
    row('seconds of a chunk', ({ chunkSeconds }) => short(chunkSeconds)),
    row('objects a day', ({ objectsPerDay }) => short(objectsPerDay)),
    row('jobs a second', ({ jobsPerSecond }) => short(jobsPerSecond)),
    row('server cores', ({ serverCores }) => short(serverCores)),
    row('compute', ({ compute }) => compute?.[0] ?? 'none'),
    row('its connections, pooler clients', ({ compute }) => (compute ? `${compute[3]}, ${compute[4]}` : '–')),
    row('worker cores', ({ workerCores }) => short(workerCores)),
    row('seconds of one rollup of the network', ({ networkSeconds }) => short(networkSeconds)),
    row('WAL MB/s', ({ walBytesPerSecond }) => short(walBytesPerSecond / 1e6)),
    row('partitions', ({ partitions }) => partitions),
    row('disk GB after a month', ({ diskGb }) => short(diskGb)),
    row('… growing by GB a day', ({ growthBytesPerDay }) => short(growthBytesPerDay / 1e9)),
    row('**all together, dollars in the first month**', () => ''),
    row('Supabase, without Storage', ({ dollars }) => short(dollars.supabase)),
    row('Modal', ({ dollars }) => short(dollars.modal)),
    row('Storj', ({ dollars }) => short(dollars.storj)),
    row('… or Supabase Storage', ({ dollars }) => short(dollars.supabaseStorage)),
    row('objects, TB a month', ({ storedGb }) => short(storedGb / 1000)),
  ]
  process.stdout.write(`${lines.join('\n')}\n`)
}
