#!/usr/bin/env node
// The entry point is plain JavaScript: an old Node cannot even read the rest, and must be told so in words.
const [major, minor] = process.versions.node.split('.').map(Number)
if (major < 22 || (major === 22 && minor < 18)) {
  process.stderr.write(
    `coherence needs Node.js 22.18 or newer; this is ${process.versions.node}.\n` +
      'In a clone, start it through npm, which brings its own Node: npm run -s coherence -- --help\n' +
      '(If that shows this message too, npm was told to ignore install scripts: run npm ci without --ignore-scripts.)\n',
  )
  process.exit(2)
}
const { main } = await import('./cli.ts')
process.exitCode = await main(process.argv.slice(2))
