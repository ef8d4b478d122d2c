// Imported into a worker by work.ts: says at its end how much memory it has held at most.
import { peakMemory } from '../harness/process-memory.ts'

process.on('exit', () => process.stderr.write(`peak ${peakMemory()}\n`))
