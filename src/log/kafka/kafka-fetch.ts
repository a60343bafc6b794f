/**
 * The fetch of one partition, in the version that kafka-link.ts checks. The request is the client's; of the answer, the batches
 * stay packed.
 *
 * A broker whose quota its user has used up answers at once, without an error, and tells of no partition. That is not to be
 * taken for a partition in which nothing follows.
 */
import { createAPI, fetchV13, type Reader, ResponseError, readKnownTaggedFields } from '@platformatic/kafka';
import { PackedBatch } from './packed-batch.ts';

export type FetchAnswer =
  | {
      readonly kind: 'partition';
      readonly batches: readonly PackedBatch[];
      /** Where the topic's history parted from the reader's; null where it did not. */
      readonly divergedAt: number | null;
    }
  | { readonly kind: 'held back'; readonly throttleMs: number };

type Partition = FetchAnswer & { readonly errorCode: number };

export const fetchPacked = createAPI<fetchV13.FetchRequest, FetchAnswer>(
  fetchV13.api.key,
  fetchV13.api.version,
  fetchV13.createRequest,
  (_correlationId, apiKey, apiVersion, reader) => {
    const throttleMs = reader.readInt32();
    const errorCode = reader.readInt16();
    // The session's id.
    reader.skip(4);
    const partitions = reader.readArray((topic) => {
      topic.readUUID();
      return topic.readArray(partitionOf, true, false);
    });
    const [found] = partitions.flat();
    const code = errorCode === 0 ? (found?.errorCode ?? 0) : errorCode;
    if (code !== 0) throw new ResponseError(apiKey, apiVersion, { '/': [code, null] }, null);
    return found ?? { kind: 'held back', throttleMs };
  },
);

function partitionOf(reader: Reader): Partition {
  // The partition's number, of which there is one.
  reader.skip(4);
  const errorCode = reader.readInt16();
  // The ends of the partition: they are asked for by themselves.
  reader.skip(24);
  reader.readNullableArray((aborted) => aborted.skip(16));
  // The replica to read from.
  reader.skip(4);
  const size = reader.readUnsignedVarInt() - 1;
  // A copy, since the answer's own bytes are pieces of what came over the socket.
  const bytes = size <= 0 ? null : Buffer.from(reader.buffer.slice(reader.position, reader.position + size));
  if (bytes !== null) reader.skip(size);
  let divergedAt: number | null = null;
  readKnownTaggedFields(reader, {
    0: (field) => {
      if (field.readInt32() >= 0) divergedAt = Number(field.readInt64());
    },
  });
  return { kind: 'partition', errorCode, divergedAt, batches: bytes === null ? [] : PackedBatch.allIn(bytes) };
}
