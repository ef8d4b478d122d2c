/** Seconds since 1970. */
export const epochSeconds = () => Math.floor(Date.now() / 1000)
