import type { JobHandler } from './context.ts'
import type { QueueName } from './queues.ts'

/** Which function does the jobs of which queue; loaded with its first job, so that a worker without work starts fast. */
export const HANDLERS: { [Q in QueueName]: () => Promise<JobHandler<Q>> } = {
  pack: async () => (await import('./pack.ts')).runPack,
  'upload-chunk': async () => (await import('./upload-chunk.ts')).runUploadChunk,
  'test-chunk': async () => (await import('./test-chunk.ts')).runTestChunk,
  'copy-object': async () => (await import('./copy-object.ts')).runCopyObject,
  'rollup-slice': async () => (await import('./rollup-slice.ts')).runRollupSlice,
  'rollup-coherence': async () => (await import('./rollup-coherence.ts')).runRollupCoherence,
  'run-analysis': async () => (await import('./run-analysis.ts')).runAnalysis,
  'export-samples': async () => (await import('./export-samples.ts')).runExportSamples,
  'compute-event': async () => (await import('./compute-event.ts')).runComputeEvent,
  reconcile: async () => (await import('./reconcile.ts')).runReconcile,
  prune: async () => (await import('./prune.ts')).runPrune,
  maintain: async () => (await import('./maintain.ts')).runMaintain,
  sweep: async () => (await import('./sweep.ts')).runSweep,
  report: async () => {
    const { runReport } = await import('./report.ts')
    return (context, job) => runReport(context, job)
  },
}
