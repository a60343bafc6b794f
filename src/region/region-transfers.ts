/** Makes this region's keeper of tables that are published late, of what the region's other parts know. */
import type { Mark } from '../apply/apply-port.ts';
import { captureName } from '../capture/tables/publication.ts';
import type { Hlc } from '../change/hlc.ts';
import type { NotesLedger } from '../clock/notes-ledger.ts';
import type { Stability } from '../clock/stability.ts';
import type { Config } from '../platform/config.ts';
import type { Logger } from '../platform/logger.ts';
import type { Queryable } from '../platform/standing-connection.ts';
import { isTableIncluded } from '../platform/table-filter.ts';
import { TransferKeeper } from '../transfer/transfer-keeper.ts';

export type RegionTransfersOptions = {
  readonly config: Config;
  readonly logger: Logger;
  readonly applicationName: string;
  readonly database: Queryable;
  readonly ledger: NotesLedger;
  readonly stability: Stability;
  readonly isCaptured: () => boolean;
  readonly ownMark: () => Mark | undefined;
  readonly echoedLsn: () => bigint | null;
};

export function makeTransfers(options: RegionTransfersOptions): TransferKeeper {
  const { config, logger, applicationName, database, ledger, stability, isCaptured, ownMark, echoedLsn } = options;
  const { region, peers, tables } = config;
  return new TransferKeeper({
    region,
    members: [region, ...peers.map((peer) => peer.region)],
    url: config.database,
    applicationName,
    database,
    publication: captureName(region),
    isIncluded: (schema, table) => isTableIncluded(tables, schema, table),
    isCaptured,
    stable: () => least(stability.watermark(), stability.promiseAt(region, ownMark()?.position)),
    highest: () => most(ledger.newest.max_hlc, stability.highestAt(region, ownMark()?.position)),
    echoedLsn,
    logger,
  });
}

const least = (a: Hlc, b: Hlc): Hlc => (a < b ? a : b);
const most = (a: Hlc, b: Hlc): Hlc => (a > b ? a : b);
