import { readEnvironment } from '../_shared/environment.ts'
import { post } from '../_shared/post.ts'
import { ingest } from './handler.ts'

const environment = readEnvironment((name) => Deno.env.get(name))

Deno.serve(post((request) => ingest(request, environment)))
