/** Runs what it is given one after the other, in the order given. */
export type OneByOne = <T>(work: () => Promise<T>) => Promise<T>

export function oneByOne(): OneByOne {
  let last: Promise<unknown> = Promise.resolve()
  return (work) => {
    const done = last.then(work)
    last = done.catch(() => {})
    return done
  }
}
