import type { ChunksView, DevicesView, NetworkView, PipelineView } from '../model.ts'
import { type ConsoleSource, SignedOutError } from './source.ts'

const TOKEN = 'coherence-token'

/** The server that the page came from, with the token of the address that it was opened by; `command` started it. */
export function localSource(command: string): ConsoleSource {
  const token = takeToken()
  const request = async (path: string): Promise<Response> => {
    const response = await fetch(`api/${path}`, { headers: { Authorization: `Bearer ${token}` } }).catch(() => {
      throw new Error('The console’s server does not answer. Does the command that started it still run?')
    })
    if (response.ok) return response
    const { error } = (await response.json().catch(() => ({ error: response.statusText }))) as { error: string }
    throw response.status === 401 ? new SignedOutError(error) : new Error(error)
  }
  const read = async <View>(path: string): Promise<View> => (await (await request(path)).json()) as View
  const readBytes = async (path: string) => new Uint8Array(await (await request(path)).arrayBuffer())
  return {
    who: 'Everybody’s data, read from the database.',
    command,
    readPipeline: () => read<PipelineView>('pipeline'),
    readDevices: () => read<DevicesView>('devices'),
    readNetwork: ({ from, to, bucketSeconds }) =>
      read<NetworkView>(`network?${new URLSearchParams({ from, to, bucket: String(bucketSeconds) })}`),
    readChunks: () => read<ChunksView>('chunks'),
    readChunk: (id) => readBytes(`chunks/${id}`),
    readReport: () => readBytes('report'),
  }
}

/** From the address, which then no longer shows it, or as this tab had it before it was loaded anew. */
function takeToken(): string {
  const [, given] = /^#token=([\w-]+)$/.exec(location.hash) ?? []
  if (given !== undefined) {
    sessionStorage.setItem(TOKEN, given)
    history.replaceState(null, '', location.pathname)
  }
  return given ?? sessionStorage.getItem(TOKEN) ?? ''
}
