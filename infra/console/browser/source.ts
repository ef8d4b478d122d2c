import type { ChunksView, DevicesView, NetworkRange, NetworkView, PipelineView } from '../model.ts'

/** Where the page's data come from. Each read throws an Error whose message a person can act on. */
export interface ConsoleSource {
  /** Whose data these are, for the page's foot. */
  readonly who: string
  /** What a maintainer types before the name of a command. */
  readonly command: string
  readonly readPipeline: () => Promise<PipelineView>
  readonly readDevices: () => Promise<DevicesView>
  readonly readNetwork: (range: NetworkRange) => Promise<NetworkView>
  readonly readChunks: () => Promise<ChunksView>
  /** The file of a chunk; absent where chunks are not for download. */
  readonly readChunk?: (id: string) => Promise<Uint8Array<ArrayBuffer>>
  /** The newest report, a page; absent where its link is all there is. */
  readonly readReport?: () => Promise<Uint8Array<ArrayBuffer>>
  readonly signOut?: () => Promise<void>
}

/** The source refuses, and asking again is of no use: the key is missing, or the session is over. */
export class SignedOutError extends Error {
  override readonly name = 'SignedOutError'
}
