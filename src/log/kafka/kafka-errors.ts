/**
 * What a failure of the Kafka client means to an operator. It is told by Kafka's error numbers, the client's own codes and
 * those of Node, never by the text of a message.
 *
 * The client nests: a list of attempts, each with the error of a connection, each with its cause. The most telling one
 * decides: a refused password says more than the connection that was lost by it, and a TLS that failed more than the login that it broke.
 */
import { protocolErrorsCodesById } from '@platformatic/kafka';
import { type ErrorCode, fail, SynclineError } from '../../platform/errors.ts';

/** Kafka's numbers, where they are asked for. */
export const KAFKA = {
  OFFSET_OUT_OF_RANGE: 1,
  UNKNOWN_TOPIC_OR_PARTITION: 3,
  MESSAGE_TOO_LARGE: 10,
  COORDINATOR_LOAD_IN_PROGRESS: 14,
  COORDINATOR_NOT_AVAILABLE: 15,
  CLUSTER_AUTHORIZATION_FAILED: 31,
  TOPIC_ALREADY_EXISTS: 36,
  UNKNOWN_TOPIC_ID: 100,
} as const;

/** Another broker leads, or the one that was asked does not know yet. */
const STALE: ReadonlySet<number> = new Set([3, 5, 6, 8, 9, 13, 14, 15, 74, 75, 78, 100, 103]);

const BY_NUMBER: ReadonlyMap<number, ErrorCode> = new Map([
  [10, 'SYN-L069'], // message too large
  [18, 'SYN-L069'], // record list too large
  [17, 'SYN-L068'], // invalid topic
  [37, 'SYN-L068'], // invalid partitions
  [38, 'SYN-L068'], // invalid replication factor
  [39, 'SYN-L068'], // invalid replica assignment
  [40, 'SYN-L068'], // invalid config
  [44, 'SYN-L068'], // policy violation
  [29, 'SYN-L062'], // topic authorization failed
  [30, 'SYN-L062'], // group authorization failed
  [31, 'SYN-L062'], // cluster authorization failed
  [53, 'SYN-L062'], // transactional id authorization failed
  [33, 'SYN-L061'], // unsupported SASL mechanism
  [34, 'SYN-L061'], // illegal SASL state
  [58, 'SYN-L061'], // SASL authentication failed
  [32, 'SYN-L064'], // invalid timestamp
  [87, 'SYN-L064'], // invalid record
  [35, 'SYN-L067'], // unsupported version
  [43, 'SYN-L067'], // unsupported for message format
  [76, 'SYN-L067'], // unsupported compression type
] as const);

const BY_CLIENT: ReadonlyMap<string, ErrorCode> = new Map([
  ['PLT_KFK_AUTHENTICATION', 'SYN-L061'],
  ['PLT_KFK_UNSUPPORTED_API', 'SYN-L067'],
  ['PLT_KFK_UNSUPPORTED_COMPRESSION', 'SYN-L067'],
  // As it is used here, the client blames its user for a TLS that one side alone speaks, and for nothing else.
  ['PLT_KFK_USER', 'SYN-L063'],
] as const);

const TLS_CODE =
  /^(ERR_TLS_|ERR_SSL_|CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|EPROTO$|HOSTNAME_MISMATCH$|INVALID_CA$)/;

/** The order in which they tell more; all others come before the last. */
const TELLING: readonly ErrorCode[] = ['SYN-L063', 'SYN-L061', 'SYN-L062', 'SYN-L067'];
const DEPTH_MAX = 8;

/** Every error of the tree, the outermost first. */
function* errorsIn(error: unknown, depth = 0): Generator<object> {
  if (depth > DEPTH_MAX || typeof error !== 'object' || error === null) return;
  yield error;
  if ('errors' in error && Array.isArray(error.errors))
    for (const each of error.errors) yield* errorsIn(each, depth + 1);
  if ('cause' in error) yield* errorsIn(error.cause, depth + 1);
}

/** All numbers that brokers answered with. */
export function kafkaNumbers(error: unknown): number[] {
  const numbers: number[] = [];
  for (const each of errorsIn(error))
    if ('apiCode' in each && typeof each.apiCode === 'number') numbers.push(each.apiCode);
  return numbers;
}

export const hasNumber = (error: unknown, number: number): boolean => kafkaNumbers(error).includes(number);

/** Whether the same request may succeed at another broker, or in a moment. */
export function isStale(error: unknown): boolean {
  const numbers = kafkaNumbers(error);
  return numbers.length > 0 && numbers.every((number) => STALE.has(number));
}

/** Whether the connection is to blame: the request may have been carried out, or not. */
export function isConnectionLost(error: unknown): boolean {
  return kafkaNumbers(error).length === 0 && codeOf(error) === 'SYN-L060';
}

/** The error with its code; `what` says what was attempted, and where. */
export function kafkaError(error: unknown, what: string): SynclineError {
  if (error instanceof SynclineError) return error;
  const numbers = kafkaNumbers(error);
  const names = numbers.map((number) => protocolErrorsCodesById[number] ?? String(number));
  return fail(codeOf(error), `${what}: ${[...new Set([...names, ...texts(error)])].join(', ')}`, {
    cause: error,
    context: { kafka_errors: names },
  });
}

function codeOf(error: unknown): ErrorCode {
  if (error instanceof SynclineError) return error.code;
  const codes = new Set<ErrorCode>();
  for (const each of errorsIn(error)) {
    const code = codeOfOne(each);
    if (code !== undefined) codes.add(code);
  }
  return TELLING.find((code) => codes.has(code)) ?? [...codes][0] ?? 'SYN-L060';
}

function codeOfOne(error: object): ErrorCode | undefined {
  if ('apiCode' in error && typeof error.apiCode === 'number') return BY_NUMBER.get(error.apiCode);
  if (!('code' in error) || typeof error.code !== 'string') return undefined;
  // A login that ends with its connection was not refused.
  if (error.code === 'PLT_KFK_AUTHENTICATION' && 'cause' in error && kafkaNumbers(error).length === 0) return undefined;
  return BY_CLIENT.get(error.code) ?? (TLS_CODE.test(error.code) ? 'SYN-L063' : undefined);
}

/** What the innermost errors say: those around them only repeat that something failed. */
function texts(error: unknown): string[] {
  const found: string[] = [];
  for (const each of errorsIn(error)) {
    const isInner = !('errors' in each) && (!('cause' in each) || each.cause === undefined);
    if (!isInner || !(each instanceof Error)) continue;
    const said = 'serverErrorMessage' in each ? each.serverErrorMessage : each.message;
    if (typeof said === 'string' && said !== '') found.push(said);
  }
  return found.slice(0, 4);
}
