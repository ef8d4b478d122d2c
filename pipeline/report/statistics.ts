import { type Html, html } from './html.ts'

/** A statistic of the page: its name there, and a sentence or two that say what it means and what its null is. */
export interface Statistic {
  readonly term: Html | string
  readonly says: string
}

const NO_NULL = 'It is a count, not a test.'

/** Every statistic that the page shows, by table. A table says those of its columns; what is not among them has no place there. */
export const STATISTICS = {
  pair: {
    term: 'pair',
    says: 'The products of all pairs of scores, added up over all seconds, over the root of their number. Devices that deviate together make z large, and those that deviate against each other make it small. Under the null z is standard normal.',
  },
  netvar: {
    term: 'netvar',
    says: 'χ² is the sum of S² over the seconds, S being Stouffer’s Z of a second’s devices. It grows when devices deviate together, or each more than it should. Under the null it is chi-square with a degree of freedom for each second; z = (χ² − df) / √(2 df) is nearly normal.',
  },
  devvar: {
    term: 'devvar',
    says: 'The sum of z² of all trials less what is expected, in standard deviations: whether the devices vary as fair bits do. Under the null it is nearly standard normal.',
  },
  covar: {
    term: 'covar',
    says: 'As pair, of the deviations of z² from 1: whether the devices’ variances rise and fall together. Under the null it is nearly standard normal.',
  },
  network_p: {
    term: 'P',
    says: 'Two-sided P-value of the test. Under the null it is uniform between 0 and 1.',
  },
  control_p: {
    term: 'P of the control',
    says: 'The same of pseudo-random trials (Philox) in the same seconds: what chance looks like. Their null holds, so that it is uniform between 0 and 1.',
  },
  rate: {
    term: 'Rate, 1/s',
    says: `Samples a second, of the seconds in which any came. ${NO_NULL} It should be what the device is set to.`,
  },
  covered: {
    term: 'Covered',
    says: `Share of the window’s seconds in which anything came. ${NO_NULL}`,
  },
  gaps: {
    term: 'Gaps',
    says: `Places at which sequence numbers are missing, so that samples were lost on the way. ${NO_NULL} A device that loses nothing has none.`,
  },
  device_z: {
    term: 'z',
    says: 'The ones k among all n bits of a device against a fair coin, (2k − n) / √n. Under the null it is standard normal.',
  },
  device_p: {
    term: 'P',
    says: 'Two-sided P-value of z. Under the null it is uniform between 0 and 1.',
  },
  entropy: {
    term: 'Entropy [ideal]',
    says: 'Plug-in Shannon entropy of the bytes of each hour, bits a byte. In brackets is what ideal bytes of the same number show, three standard deviations about their expectation: under the null it is in there with probability .997.',
  },
  byte_chi_square: {
    term: 'Byte χ²',
    says: 'How unevenly the 256 byte values come, the hours added up; it is in the download, and above where it is rare. Under the null it is chi-square with 255 degrees of freedom an hour.',
  },
  chunk_tests: {
    term: 'Chunk tests',
    says: 'How many P-values of its chunk tests are .01 or more. Under the null 99 of 100 are.',
  },
  passed: {
    term: 'Passed',
    says: 'How many chunks pass the test at .01, of those that it has a P-value of. Under the null 99 of 100 do.',
  },
  allowed: {
    term: 'Allowed',
    says: 'The range of passes (SP 800-22, 4.2.1), by the exact binomial distribution. Under the null a test is outside with probability .0027; ▲ marks it.',
  },
  share: { term: 'Share', says: 'Of the chunks tested, those that pass. Under the null it is near 99 %.' },
  uniformity: {
    term: html`P<sub>T</sub>`,
    says: 'P-value of a chi-square that asks whether the P-values are uniform in ten bins (SP 800-22, 4.2.2), from 55 of them on; below .0001 they are not (▲). A dash: there are fewer, or they take so few values that they cannot be uniform. Under the null it is uniform itself.',
  },
  no_answer: {
    term: 'No answer',
    says: `Results without a P-value: too few bits for the test, or bits on which it says nothing, as runs of biased ones. ${NO_NULL}`,
  },
  bins: { term: 'P-values in ten bins', says: 'From 0 at the left to 1. Under the null the bars are level.' },
  pair_r: {
    term: 'r',
    says: 'Pearson’s correlation of two devices’ scores over the T seconds that both have a trial in. Under the null t = r √(T − 2) / √(1 − r²) has Student’s distribution.',
  },
  pair_p: { term: 'P', says: 'Two-sided P-value of r. Under the null it is uniform between 0 and 1.' },
  pair_q: {
    term: 'q',
    says: 'P corrected for the number of pairs (Benjamini and Hochberg): of the pairs at q ≤ 0.05 (▲) one in twenty is expected to be chance. Under the null of all pairs there is a pair at q ≤ 0.05 in one report of twenty.',
  },
  product_z: {
    term: 'Product z',
    says: 'The sum of the products of two devices’ scores, over √T. It does not take the devices’ biases out: two biased devices show in it. Under the null of fair bits it is standard normal.',
  },
  product_q: {
    term: 'its q',
    says: 'The product z’s P-value, corrected for the number of pairs as q is, with the same null as the product z.',
  },
  best_lag: {
    term: 'Best lag, s',
    says: 'By how many seconds the second device follows the first where their products are largest. Under the null any lag from −20 to 20 is as likely.',
  },
  event_statistic: {
    term: 'Statistic',
    says: 'What the declared hypothesis tests: z of pair, devvar and covar, χ² of netvar, with the null that the network’s table has of it.',
  },
  event_p: {
    term: 'P',
    says: 'P-value of the declared tail, of the devices’ trials in the declared window. Under the null it is uniform between 0 and 1.',
  },
  event_holm: {
    term: 'Holm',
    says: 'P corrected for all events that were ever computed. If all nulls hold, one among them is .05 or less with probability .05 at most.',
  },
  event_control: {
    term: 'Control P',
    says: 'The same test of pseudo-random trials in the same seconds. Their null holds, so that it is uniform between 0 and 1.',
  },
} as const satisfies Readonly<Record<string, Statistic>>

export type StatisticName = keyof typeof STATISTICS

/** What they say, as a list. */
export function termList(names: readonly StatisticName[]): Html | null {
  if (names.length === 0) return null
  return html`<dl class="terms">
    ${names.map(
      (name) =>
        html`<div>
          <dt>${STATISTICS[name].term}</dt>
          <dd>${STATISTICS[name].says}</dd>
        </div> `,
    )}
  </dl>`
}
