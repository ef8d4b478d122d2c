import { openChunk } from './open-chunk.ts'

// A thread of its own: the tests of a 32 MiB chunk take seconds, in which the page goes on.
onmessage = ({ data }: MessageEvent<Uint8Array<ArrayBuffer>>) => {
  void openChunk(data).then(
    (chunk) => postMessage({ chunk }),
    (error: Error) => postMessage({ error: error.message }),
  )
}
