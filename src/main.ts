/** argv → command. */
import { endsWithReader } from './cli/output.ts';
import { run } from './cli/program.ts';

endsWithReader(process.stdout);
process.exitCode = await run(process.argv.slice(2));
