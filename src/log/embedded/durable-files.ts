// Files and folders that a power cut leaves as they are. Flushing a file says nothing of its name, nor of the folder that it
// is in: each name is in the folder above, which is flushed by itself.

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
    syncFile(folder);
  }
  syncFile(dirname(highest));
}

/** Makes durable what is in it: for a folder, the names. */
export function syncFile(path: string): void {
  const file = openSync(path, 'r');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
