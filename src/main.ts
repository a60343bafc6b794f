/** argv → command. Each command is loaded only when it is called, so that an idle agent holds nothing of the others. */
import { Command } from 'commander';

const program = new Command('syncline').description('Active-active replication for stock PostgreSQL');

program
  .command('agent')
  .description('serve a region until told to stop')
  .requiredOption('-c, --config <file>', 'configuration of the region')
  .action(async (options: { config: string }) => {
    const { runAgent } = await import('./cli/agent.ts');
    process.exitCode = await runAgent(options.config);
  });

await program.parseAsync();
