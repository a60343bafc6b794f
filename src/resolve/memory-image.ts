/** What a WebAssembly memory holds, to be set again: only pages that are not empty are kept. */

const PAGE_BYTES = 64 * 1024;
const EMPTY_PAGE = Buffer.alloc(PAGE_BYTES);

/** As of `WebAssembly.Memory`, which Node's types leave out. */
export type WasmMemory = { readonly buffer: ArrayBuffer };

export class MemoryImage {
  readonly #pages: readonly { readonly at: number; readonly bytes: Uint8Array }[];

  private constructor(pages: readonly { readonly at: number; readonly bytes: Uint8Array }[]) {
    this.#pages = pages;
  }

  static of(memory: WasmMemory): MemoryImage {
    const pages: { at: number; bytes: Uint8Array }[] = [];
    for (let at = 0; at < memory.buffer.byteLength; at += PAGE_BYTES) {
      const page = Buffer.from(memory.buffer, at, PAGE_BYTES);
      if (!page.equals(EMPTY_PAGE)) pages.push({ at, bytes: new Uint8Array(page) });
    }
    return new MemoryImage(pages);
  }

  /** A memory that has grown since stays large, and is empty there. */
  restore(memory: WasmMemory): void {
    const bytes = new Uint8Array(memory.buffer);
    bytes.fill(0);
    for (const { at, bytes: page } of this.#pages) bytes.set(page, at);
  }
}
