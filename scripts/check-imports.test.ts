import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkImports } from './check-imports.ts';

const MANIFEST = ['package.json', '{ "dependencies": { "pg": "8", "@fastify/swagger": "9" } }'] as const;

function complaintsFor(path: string, specifier: string): string[] {
  const target = new URL(specifier, `file:///${path}`).pathname.slice(1);
  return checkImports(new Map([MANIFEST, [path, `import { x } from '${specifier}';`], [target, '']]));
}

test('the allowed arrows pass', () => {
  const allowed = [
    ['src/change/a.ts', '../platform/assert.ts'],
    ['src/clock/a.ts', '../change/hlc.ts'],
    ['src/capture/a.ts', '../clock/marks.ts'],
    ['src/capture/a.ts', '../log/event-log.ts'],
    ['src/apply/a.ts', '../log/transaction-reader.ts'],
    ['src/apply/a.ts', '../resolve/fold.ts'],
    ['src/apply/a.ts', './b.ts'],
    ['src/region-logs.ts', './log/embedded/embedded-log.ts'],
    ['src/region/a.ts', '../capture/capture.ts'],
    ['src/cli/a.ts', '../apply/lane.ts'],
    ['src/apply/a.test.ts', '../capture/slot.ts'],
    ['src/capture/a.test.ts', '../../test/support/wait-for.ts'],
  ] as const;
  for (const [path, specifier] of allowed) assert.deepEqual(complaintsFor(path, specifier), [], `${path} ${specifier}`);
  for (const name of ['pg', '@fastify/swagger', 'node:fs']) assert.deepEqual(complaintsFor('src/a.ts', name), []);
});

test('every other arrow is a complaint', () => {
  const forbidden = [
    ['src/platform/a.ts', '../change/hlc.ts'],
    ['src/change/a.ts', '../platform/postgres.ts'],
    ['src/capture/a.ts', '../apply/lane.ts'],
    ['src/apply/a.ts', '../capture/slot.ts'],
    ['src/capture/a.ts', '../resolve/fold.ts'],
    ['src/apply/a.ts', '../log/embedded/embedded-log.ts'],
    ['src/clock/a.ts', '../log/event-log.ts'],
    ['src/region/a.ts', '../log/embedded/embedded-log.ts'],
    ['src/region/a.ts', '../api/server.ts'],
    ['src/cli/a.ts', '../log/embedded/embedded-log.ts'],
    ['src/api/a.ts', '../../test/support/wait-for.ts'],
  ] as const;
  for (const [path, specifier] of forbidden) {
    assert.equal(complaintsFor(path, specifier).length, 1, `${path} ${specifier}`);
  }
});

test('packages outside of dependencies and files that do not exist are complaints', () => {
  assert.deepEqual(complaintsFor('src/a.ts', 'fast-check'), ['src/a.ts: fast-check is no dependency of package.json']);
  const tree = new Map([MANIFEST, ['src/a.ts', "import './gone.ts';"]]);
  assert.deepEqual(checkImports(tree), ['src/a.ts: no file src/gone.ts']);
});

test('folders within a folder that import each other, also by way of a third, are a complaint', () => {
  const files = (...arrows: [string, string][]): string[] => {
    const tree = new Map<string, string>([MANIFEST]);
    for (const [from, to] of arrows) {
      const target = new URL(to, `file:///${from}`).pathname.slice(1);
      tree.set(from, `${tree.get(from) ?? ''}import '${to}';`);
      tree.set(target, tree.get(target) ?? '');
    }
    return checkImports(tree);
  };
  const there: [string, string][] = [
    ['src/apply/lane/a.ts', '../batch/b.ts'],
    ['src/apply/batch/b.ts', '../c.ts'],
  ];
  assert.deepEqual(
    files(...there, ['src/apply/lane/d.ts', '../c.ts'], ['src/apply/batch/b.test.ts', '../lane/a.ts']),
    [],
  );
  assert.deepEqual(files(...there, ['src/apply/e.ts', './lane/d.ts']), [
    'folders import each other in a circle: src/apply/lane > src/apply/batch > src/apply > src/apply/lane',
  ]);
});
