import type { AgentControl } from '../monitor/agent-status.ts';
import type { Config } from '../platform/config.ts';
import type { StandingConnection } from '../platform/standing-connection.ts';

/** What the routes know of their surroundings. */
export type ApiContext = {
  readonly config: Config;
  readonly database: StandingConnection;
  /** SYN-T011 while the agent starts. */
  readonly agent: () => AgentControl;
};
