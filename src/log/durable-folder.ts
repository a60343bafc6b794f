// Folders that a power cut leaves as they are. Flushing a file says nothing of its name, nor of the folder that it is in:
// each name is in the folder above, which is flushed by itself.

import { closeSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

/** Makes it, and those above it that are missing. */
export function makeFolder(path: string): void {
  const made = mkdirSync(path, { recursive: true });
  if (made === undefined) return;
  const highest = resolve(made);
  let folder = resolve(path);
  while (folder.length > highest.length) {
    folder = dirname(folder);
    syncFolder(folder);
  }
  syncFolder(dirname(highest));
}

/** Makes durable which names are in it. */
export function syncFolder(path: string): void {
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
