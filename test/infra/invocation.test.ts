import { expect, it } from 'vitest'
import { invocation } from '../../infra/invocation.ts'

const file = `${process.cwd()}/infra/coherence.js`

it('from another folder its file is named in full', () => {
  expect(invocation({}, { file: '/opt/x/infra/coherence.js', isClone: true })).toBe('node /opt/x/infra/coherence.js')
})

it.each([
  ['in a clone, by npm', { npm_lifecycle_event: 'coherence' }, true, 'npm run -s coherence --'],
  ['in a clone, by the script demo', { npm_lifecycle_event: 'demo' }, true, 'npm run -s coherence --'],
  ['in a clone, by its file', {}, true, 'node infra/coherence.js'],
  ['of the package, by npx', { npm_lifecycle_event: 'npx' }, false, 'npx coherence'],
  ['of the package, by its name', {}, false, 'coherence'],
])('%s a command is typed again as it was', (_how, environment, isClone, expected) => {
  expect(invocation(environment, { file, isClone })).toBe(expected)
})
