import { runComputeEvent } from './compute-event.ts'
import type { JobHandler } from './context.ts'
import { runCopyObject } from './copy-object.ts'
import { runExportSamples } from './export-samples.ts'
import { runPack } from './pack.ts'
import { runPrune } from './prune.ts'
import type { QueueName } from './queues.ts'
import { runReconcile } from './reconcile.ts'
import { runRollupCoherence } from './rollup-coherence.ts'
import { runRollupSlice } from './rollup-slice.ts'
import { runAnalysis } from './run-analysis.ts'
import { runSweep } from './sweep.ts'
import { runTestChunk } from './test-chunk.ts'
import { runUploadChunk } from './upload-chunk.ts'

/** Which function does the jobs of which queue. */
export const HANDLERS: { [Q in QueueName]: JobHandler<Q> } = {
  pack: runPack,
  'upload-chunk': runUploadChunk,
  'test-chunk': runTestChunk,
  'copy-object': runCopyObject,
  'rollup-slice': runRollupSlice,
  'rollup-coherence': runRollupCoherence,
  'run-analysis': runAnalysis,
  'export-samples': runExportSamples,
  'compute-event': runComputeEvent,
  reconcile: runReconcile,
  prune: runPrune,
  sweep: runSweep,
}
