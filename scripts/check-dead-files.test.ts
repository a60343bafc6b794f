import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkDeadFiles } from './check-dead-files.ts';

test('a module is alive if the command line, a test of a whole, a benchmark or a script needs it', () => {
  const tree = new Map([
    ['src/main.ts', "import './agent.ts';"],
    ['src/agent.ts', ''],
    ['src/log/memory-log.ts', ''],
    ['src/load.ts', ''],
    ['src/old.ts', ''],
    ['src/old.test.ts', "import './old.ts'; import '../test/support/contract.ts';"],
    ['test/support/contract.ts', ''],
    ['test/support/world.ts', "import '../../src/log/memory-log.ts';"],
    ['test/support/unused.ts', ''],
    ['test/simulation/all.test.ts', "import '../support/world.ts';"],
    ['bench/run.ts', "import '../src/load.ts';"],
  ]);
  assert.deepEqual(
    checkDeadFiles(tree).map((complaint) => complaint.split(':')[0]),
    ['src/old.ts', 'test/support/unused.ts'],
  );
});
