/** Of the system, SQLSTATE class 08, or a server that ends or starts. */
const LOST_CODES = /^(ECONN(REFUSED|RESET)|EPIPE|ETIMEDOUT|08...|57P0[1-3])$/
/** What node-postgres says without a code: of the query that was running, of the next one, and of a connection it did not get. */
const LOST_WORDS = /^Connection terminated|is not queryable$|^timeout exceeded when trying to connect$/

/** True for an error which says that the connection to Postgres is gone, or that none could be made now. */
export function isConnectionLost(error: unknown): boolean {
  const { code = '', message = '' } = error as { code?: string; message?: string }
  return LOST_CODES.test(code) || LOST_WORDS.test(message)
}
