/** Where telemetry goes, and what it says of its sender. */
export interface OtlpSettings {
  /** The collector's base URL; `/v1/traces` and `/v1/metrics` are added. */
  readonly endpoint: string
  readonly headers: Readonly<Record<string, string>>
  /** Passes over one among the attributes. */
  readonly serviceName: string | undefined
  readonly resourceAttributes: Readonly<Record<string, string>>
}

/**
 * The pairs of `name=value,name=value`, values percent-encoded, as OTEL_EXPORTER_OTLP_HEADERS and OTEL_RESOURCE_ATTRIBUTES
 * have them (OpenTelemetry specification, "Environment variables"; W3C Baggage). Null if the text is no such list.
 */
export function parsePairs(text: string): Record<string, string> | null {
  const pairs: Record<string, string> = {}
  for (const pair of text.split(',').filter((part) => part.trim() !== '')) {
    const equals = pair.indexOf('=')
    const name = pair.slice(0, equals).trim()
    if (equals < 0 || name === '') return null
    try {
      pairs[name] = decodeURIComponent(pair.slice(equals + 1).trim())
    } catch {
      return null
    }
  }
  return pairs
}
