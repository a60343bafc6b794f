/** Places that were taken are reclaimed in blocks of at least this many. */
const RECLAIMED_MIN = 64;

/** First in, first out, in constant time for each: what was taken is let go at once, and its places are reclaimed by halves. */
export class Fifo<Item> {
  #items: (Item | undefined)[] = [];
  #head = 0;

  get size(): number {
    return this.#items.length - this.#head;
  }

  get first(): Item | undefined {
    return this.at(0);
  }

  /** The item `n` places behind the first one. */
  at(n: number): Item | undefined {
    return this.#items[this.#head + n];
  }

  push(item: Item): void {
    this.#items.push(item);
  }

  shift(): Item | undefined {
    if (this.size === 0) return undefined;
    const item = this.first;
    this.#items[this.#head] = undefined;
    this.#head += 1;
    if (this.#head >= RECLAIMED_MIN && this.#head * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  clear(): void {
    this.#items = [];
    this.#head = 0;
  }
}
