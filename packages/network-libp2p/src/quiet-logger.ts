import type { ComponentLogger, Logger } from "@libp2p/interface";

// libp2p logs through `debug` to stderr whenever DEBUG is set, network bytes included,
// and formats several lines per message. What an operator needs comes from our own log.
function silent(): Logger {
  const nothing = (): void => {};
  const logger: Logger = Object.assign(nothing, {
    error: nothing,
    trace: nothing,
    enabled: false,
    newScope: (): Logger => logger,
  });
  return logger;
}

const logger = silent();

/** A libp2p logger that says nothing. */
export const quietLogger: ComponentLogger = { forComponent: () => logger };
