// Keeps the arrows between the folders: data flows capture → log → apply, and each layer knows only
// the ones below it. Capture and apply never import each other: they meet at the log and in clock/.
// Only region-logs.ts names a concrete log, so that the rest works with any. Folders within a folder have
// an order too, which is whatever it is as long as no way leads back.

import { posix } from 'node:path';
import { importsOf } from './module-graph.ts';
import { type Check, isTest } from './source-tree.ts';

/** The log's interface, and what reads a stream through it whatever the log is. */
const LOG_INTERFACE = /^src\/log\/(event-log|mark-check|transaction-reader|stream-item|stream-tail)\.ts$/;

/** What may be imported by the modules of a folder, besides the folder itself. */
const ARROWS: Readonly<Record<string, readonly RegExp[]>> = {
  platform: [],
  change: [/^src\/platform\/(errors|assert)\.ts$/],
  clock: [/^src\/(change|platform)\//],
  log: [/^src\/(change|platform)\//],
  resolve: [/^src\/(change|platform)\//],
  capture: [/^src\/(clock|change|platform)\//, LOG_INTERFACE],
  apply: [/^src\/(clock|resolve|change|platform)\//, LOG_INTERFACE],
  merge: [/^src\/(resolve|change|platform)\//],
  transfer: [/^src\/(apply|clock|change|platform)\//],
  sequences: [/^src\/(change|platform)\//],
  verify: [/^src\/(change|platform)\//],
  region: [
    /^src\/(capture|apply|merge|transfer|sequences|topology|monitor|resolve|clock|change|platform)\//,
    LOG_INTERFACE,
  ],
  demo: [/^src\/(platform|verify)\//],
};

const NAMES_A_LOG = 'src/region-logs.ts';

/** What doctor asks before there is an agent. */
const PROBES: Readonly<Record<string, string>> = { 'src/cli/doctor-kafka.ts': 'src/log/kafka/kafka-check.ts' };

export const checkImports: Check = (tree) => {
  const complaints: string[] = [];
  const arrows = new Map<string, Set<string>>();
  const manifest = JSON.parse(tree.get('package.json') ?? '{}') as { dependencies?: Record<string, string> };
  const dependencies = new Set(Object.keys(manifest.dependencies ?? {}));
  for (const [path, text] of tree) {
    if (!path.startsWith('src/') || !path.endsWith('.ts') || isTest(path)) continue;
    const folder = path.split('/').length > 2 ? (path.split('/')[1] ?? '') : '';
    for (const imported of importsOf(path, text)) {
      const complaint = complainAbout(path, folder, imported, dependencies);
      if (complaint !== undefined) complaints.push(`${path}: ${complaint}`);
      else if (imported.startsWith('src/') && !tree.has(imported)) complaints.push(`${path}: no file ${imported}`);
      else innerArrow(arrows, path, imported);
    }
  }
  for (const from of arrows.keys()) {
    const way = wayBack(arrows, from);
    if (way !== undefined) return [...complaints, `folders import each other in a circle: ${way.join(' > ')}`];
  }
  return complaints;
};

/** Notes that modules of one part of a folder import another part; what stands in the folder itself is a part too. */
function innerArrow(arrows: Map<string, Set<string>>, path: string, imported: string): void {
  const [from, to] = [posix.dirname(path), posix.dirname(imported)];
  if (from === to || from.split('/')[1] !== to.split('/')[1]) return;
  arrows.set(from, (arrows.get(from) ?? new Set()).add(to));
}

/** The folders from one on along the arrows and back to it, if there is such a way. */
function wayBack(arrows: ReadonlyMap<string, ReadonlySet<string>>, start: string): string[] | undefined {
  const seen = new Set<string>();
  const open = [[start]];
  for (let way = open.pop(); way !== undefined; way = open.pop()) {
    for (const next of arrows.get(way.at(-1) ?? '') ?? []) {
      if (next === start) return [...way, next];
      if (!seen.has(next)) open.push([...way, next]);
      seen.add(next);
    }
  }
  return undefined;
}

function complainAbout(
  path: string,
  folder: string,
  imported: string,
  dependencies: ReadonlySet<string>,
): string | undefined {
  if (imported.startsWith('node:')) return undefined;
  if (!/^(\.|src\/|test\/|scripts\/|bench\/)/.test(imported)) {
    const name = imported
      .split('/')
      .slice(0, imported.startsWith('@') ? 2 : 1)
      .join('/');
    return dependencies.has(name) ? undefined : `${imported} is no dependency of package.json`;
  }
  if (!imported.startsWith('src/')) return `src may not import ${imported}`;
  if (imported.startsWith(`src/${folder}/`) && folder !== '') return undefined;
  const allowed = ARROWS[folder];
  if (allowed !== undefined && !allowed.some((arrow) => arrow.test(imported))) {
    return `${folder} may not import ${imported}`;
  }
  const isConcreteLog = imported.startsWith('src/log/') && !LOG_INTERFACE.test(imported);
  if (isConcreteLog && path !== NAMES_A_LOG && PROBES[path] !== imported)
    return `only ${NAMES_A_LOG} may name a concrete log (${imported})`;
  return undefined;
}
