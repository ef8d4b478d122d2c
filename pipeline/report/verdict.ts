import { holm } from '../multiple-testing.ts'
import type { NetworkTests } from '../network.ts'
import { cleanText, cutText, formatCount, formatFixed } from './format.ts'
import { type DevicePart, type Finding, FLAG_ALPHA, type ReportData } from './report-data.ts'

/** Subjects that the verdict names, and how much of each. */
const MOST_NAMED = 3
const LONGEST_NAME = 48
/** More silent devices than this are one finding. */
const MOST_SILENT_NAMED = 3

type Judged = Pick<ReportData, 'network' | 'devices' | 'tests' | 'pairs'>

/**
 * What stands out. There are four families of tests: the network's four, each device's two, each device's passes of each
 * chunk test, and the pairs. In each the P-values are adjusted by Holm, so that of ideal devices one report in 250 names
 * anything. With it come alarms of single chunks and active devices that sent nothing.
 */
export function findFindings(report: Judged): Finding[] {
  const findings: Finding[] = [
    ...rare(networkClaims(report.network.tests)),
    ...rare(report.devices.flatMap(deviceClaims)),
    ...rare(testClaims(report), report.tests.by_device_of),
    ...rare(pairClaims(report), report.pairs.tested),
  ].toSorted((a, b) => (a.p_holm ?? 1) - (b.p_holm ?? 1))
  return [...findings, ...report.devices.flatMap(alarmOf), ...silences(report.devices)]
}

interface Claim extends Omit<Finding, 'p_holm'> {
  readonly p: number
}

/** `among`: how many tests the family has, of which the claims may be the strongest alone; then by Bonferroni. */
function rare(claims: readonly Claim[], among = claims.length): Finding[] {
  const p = claims.map((claim) => claim.p)
  const adjusted = among > p.length ? p.map((value) => Math.min(1, among * value)) : holm(p)
  return claims.flatMap(({ p: _p, ...claim }, i) =>
    adjusted[i] <= FLAG_ALPHA ? [{ ...claim, p_holm: adjusted[i] }] : [],
  )
}

function networkClaims(tests: NetworkTests | null): Claim[] {
  if (tests === null) return []
  const { netvar, pair, devvar, covar } = tests
  const subject = 'the network'
  return [
    ...(pair.status === 'ok' ? [{ subject, finding: `pair products, z = ${formatFixed(pair.z, 2)}`, p: pair.p }] : []),
    ...(netvar.status === 'ok'
      ? [{ subject, finding: `netvar, z = ${formatFixed(netvar.z, 2)}`, p: Math.min(1, netvar.p_two) }]
      : []),
    ...(devvar.status === 'ok'
      ? [{ subject, finding: `variance of the devices, z = ${formatFixed(devvar.z, 2)}`, p: devvar.p }]
      : []),
    ...(covar.status === 'ok'
      ? [{ subject, finding: `variances change together, z = ${formatFixed(covar.z, 2)}`, p: covar.p }]
      : []),
  ]
}

/** Never empty: where a name has nothing to see, the begin of the id stands for it. */
export function deviceName({ id, name }: Pick<DevicePart, 'id' | 'name'>): string {
  if (name === null) return `deleted device ${id.slice(0, 8)}`
  const clean = cleanText(name)
  return clean.trim() === '' ? `nameless device ${id.slice(0, 8)}` : clean
}

function deviceClaims(device: DevicePart): Claim[] {
  const own = { subject: deviceName(device), device_id: device.id }
  const { z, p, byte_chi_square: chi, entropy } = device
  return [
    ...(p === null ? [] : [{ ...own, finding: `share of ones, z = ${formatFixed(z, 1)}`, p }]),
    ...(chi === null
      ? []
      : [
          {
            ...own,
            finding: `byte values are not uniform${entropy === null ? '' : `, entropy ${formatFixed(entropy.entropy, 4)} bits a byte`}`,
            p: chi.p,
          },
        ]),
  ]
}

function testClaims({ tests, devices }: Judged): Claim[] {
  const nameOf = new Map(devices.map((device) => [device.id, deviceName(device)]))
  return tests.by_device.flatMap(({ device_id: id, test, index, of, proportion, p_failures: p }) => {
    if (p === null || proportion === null) return []
    const failed = proportion.tested - proportion.passed
    const finding = `fails ${test}${of > 1 ? ` ${index}` : ''} in ${failed} of ${proportion.tested} chunks`
    return [{ subject: nameOf.get(id) ?? id, device_id: id, finding, p }]
  })
}

function pairClaims({ pairs, devices }: Judged): Claim[] {
  const nameOf = new Map(devices.map((device) => [device.id, deviceName(device)]))
  return pairs.rows.flatMap(({ a, b, p, r, seconds }) => {
    if (p === null) return []
    const names = [nameOf.get(a) ?? a, nameOf.get(b) ?? b] as const
    const subject = names.join(' × ')
    return [{ subject, names, finding: `move together, r = ${formatFixed(r, 3)} over ${formatCount(seconds)} s`, p }]
  })
}

function alarmOf(device: DevicePart): Finding[] {
  if (device.alarms === 0) return []
  const finding = `${device.alarms} ${device.alarms === 1 ? 'alarm' : 'alarms'} in single chunks`
  return [{ subject: deviceName(device), device_id: device.id, finding, p_holm: null }]
}

function silences(devices: readonly DevicePart[]): Finding[] {
  const silent = devices.filter(({ status, samples }) => status === 'active' && samples === 0)
  if (silent.length > MOST_SILENT_NAMED) {
    return [{ subject: `${silent.length} active devices`, finding: 'sent nothing', p_holm: null }]
  }
  return silent.map((device) => {
    return { subject: deviceName(device), device_id: device.id, finding: 'sent nothing', p_holm: null }
  })
}

/** Text, or a name, which may be written from right to left and is no part of the sentence about it. */
export type VerdictPart = string | { readonly name: string }

/** The report in one line. */
export function verdictOf(devices: readonly DevicePart[], samples: number, findings: readonly Finding[]): string {
  return verdictParts(devices, samples, findings)
    .map((part) => (typeof part === 'string' ? part : part.name))
    .join('')
}

/** The same with its names apart, cut short and without what would turn the text around them. */
export function verdictParts(
  devices: readonly DevicePart[],
  samples: number,
  findings: readonly Finding[],
): VerdictPart[] {
  if (devices.length === 0) return ['There are no devices yet.']
  const sent = devices.filter((device) => device.samples > 0).length
  const what = `${formatCount(sent)} ${sent === 1 ? 'device' : 'devices'}, ${formatCount(samples)} samples`
  if (samples === 0)
    return [`No samples came from ${formatCount(devices.length)} ${devices.length === 1 ? 'device' : 'devices'}.`]
  if (findings.length === 0) return [`${what}: nothing stands out.`]
  const subjects = [...new Map(findings.map((finding) => [finding.subject, finding])).values()]
  const left = subjects.length - MOST_NAMED
  const list = [
    ...subjects.slice(0, MOST_NAMED).map(subjectParts),
    ...(left > 0 ? [[`${formatCount(left)} more`]] : []),
  ]
  const verb = subjects.length === 1 && !/^\d/.test(subjects[0].subject) ? 'stands' : 'stand'
  const joined = list.flatMap((parts, i) => [i === 0 ? '' : i === list.length - 1 ? ' and ' : ', ', ...parts])
  return [`${what}: `, ...joined, ` ${verb} out.`]
}

function subjectParts({ subject, names, device_id: id }: Finding): VerdictPart[] {
  const name = (text: string, longest: number) => ({ name: cutText(cleanText(text), longest) })
  if (names) return [name(names[0], LONGEST_NAME / 2), ' × ', name(names[1], LONGEST_NAME / 2)]
  return [id === undefined ? subject : name(subject, LONGEST_NAME)]
}
