import { expect, it } from 'vitest'
import { redraw } from '../../infra/redraw.ts'

const SIZE = { columns: 10, rows: 6 }

/** The rows of a terminal of SIZE that was sent this. */
function screenOf(sent: string): string[] {
  let [row, column] = [0, 0]
  let screen = ['']
  const down = () => {
    if (++row < SIZE.rows) return
    screen = screen.slice(1)
    row = SIZE.rows - 1
  }
  // oxlint-disable-next-line no-control-regex -- these are what it is about
  for (const [piece, count, code] of sent.matchAll(/\u001b\[(\d*)([A-Z])|[^]/g)) {
    if (code === 'A') row = Math.max(0, row - Number(count))
    else if (code === 'H') [row, column] = [0, 0]
    else if (code === 'K') screen[row] = (screen[row] ?? '').slice(0, column)
    else if (code === 'J') screen = [...screen.slice(0, row), (screen[row] ?? '').slice(0, column)]
    else if (piece === '\r') column = 0
    else if (piece === '\n') {
      column = 0
      down()
    } else {
      if (column === SIZE.columns) {
        column = 0
        down()
      }
      screen[row] = (screen[row] ?? '').padEnd(column).slice(0, column) + piece + (screen[row] ?? '').slice(column + 1)
      column++
    }
  }
  return screen.map((line) => line ?? '')
}

it.each([
  ['shorter lines, fewer of them', '12345\nabcde\nx', '123\nab', ['123', 'ab', '']],
  ['more of them', 'a', 'a\nb\nc', ['a', 'b', 'c', '']],
  ['lines that the terminal broke', '1234567890abc\nx', 'y\nz', ['y', 'z', '']],
  ['what filled the screen', 'a\nb\nc\nd\ne\nf\ng', 'A\nB', ['A', 'B', '']],
])('a second reading takes the place of the first: %s', (_what, first, second, expected) => {
  const one = redraw(first, 0, SIZE)
  const two = redraw(second, one.rows, SIZE)
  expect(screenOf(one.sent + two.sent)).toEqual(expected)
})

it('colours take no room', () => {
  expect(redraw('\u001b[31m1234567890\u001b[39m', 0, SIZE).rows).toBe(1)
})
