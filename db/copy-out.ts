import { type ClientBase, Query } from 'pg'

/**
 * Runs a `COPY … TO STDOUT` and gives `take` what comes, a row at a time as servers send it; the bytes are valid only during the
 * call. Rejects with what `take` throws, and reads on to the end then: the connection stays usable.
 */
export async function readCopy(client: ClientBase, text: string, take: (data: Buffer) => void): Promise<void> {
  let failure: { error: unknown } | undefined
  await new Promise<void>((resolve, reject) => {
    const query = Object.assign(new Query(text), {
      callback: (error: Error | null) => (error ? reject(error) : resolve()),
      // pg's own queries pass over these messages. A stream for them costs an eighth of the reading of samples of 4 KB.
      handleCopyData: ({ chunk }: { chunk: Buffer }) => {
        if (failure) return
        try {
          take(chunk)
        } catch (error) {
          failure = { error }
        }
      },
    })
    client.query(query)
  })
  if (failure) throw failure.error
}
