import type { Logger } from "@quorate/ports";
import type { FastifyInstance } from "fastify";
import { TELEMETRY_LIMITS } from "./limits.ts";

/** One listener, as much of a WebSocket as is used. */
export interface FeedSocket {
  readonly readyState: number;
  /** Bytes that wait for the other side to take them. */
  readonly bufferedAmount: number;
  send(text: string): void;
  ping(): void;
  close(code: number, reason: string): void;
  terminate(): void;
  on(event: "close" | "error" | "pong" | "message", listener: () => void): unknown;
}

export interface EventFeed {
  /** Whether anybody listens: without, nothing need be made into text. */
  readonly listening: boolean;
  /** Sends a message to everybody. Whoever does not take in what was sent before is cut off, so nobody slows the rest or fills the memory. */
  publish(message: object): void;
  /** Takes a listener in; it is told `hello` first. */
  add(socket: FeedSocket): void;
  /** Ends all. Idempotent. */
  close(): void;
}

export interface EventFeedOptions {
  /** What a new listener is told first: where the feed begins. */
  readonly hello: () => object;
  readonly logger: Logger;
  readonly clientsMax?: number;
  readonly bufferBytesMax?: number;
}

const OPEN = 1;
/** WebSocket close codes (RFC 6455): going away, not acceptable, try again later. */
const GOING_AWAY = 1001;
const POLICY = 1008;
const TRY_LATER = 1013;

/** Events for many listeners at once. */
export function createEventFeed(options: EventFeedOptions): EventFeed {
  const {
    hello,
    logger,
    clientsMax = TELEMETRY_LIMITS.feedClientsMax,
    bufferBytesMax = TELEMETRY_LIMITS.feedBufferBytesMax,
  } = options;
  const answered = new Map<FeedSocket, boolean>();
  const drop = (socket: FeedSocket, code: number, reason: string): void => {
    answered.delete(socket);
    socket.close(code, reason);
  };
  const send = (socket: FeedSocket, text: string): void => {
    if (socket.readyState !== OPEN) return;
    if (socket.bufferedAmount + text.length > bufferBytesMax) {
      logger.warn("an event listener is too slow and is cut off", {
        waitingBytes: socket.bufferedAmount,
      });
      drop(socket, TRY_LATER, "too slow: read the present state and connect again");
    } else socket.send(text);
  };
  const timer = setInterval(() => {
    for (const [socket, isAlive] of answered) {
      if (isAlive) {
        answered.set(socket, false);
        socket.ping();
      } else {
        answered.delete(socket);
        socket.terminate();
      }
    }
  }, TELEMETRY_LIMITS.feedPingIntervalMs);
  timer.unref();
  return {
    get listening() {
      return answered.size > 0;
    },
    publish: (message) => {
      if (answered.size === 0) return;
      const text = JSON.stringify(message);
      for (const socket of answered.keys()) send(socket, text);
    },
    add: (socket) => {
      socket.on("error", () => undefined);
      if (answered.size >= clientsMax) {
        socket.close(TRY_LATER, "too many listeners");
        return;
      }
      socket.on("close", () => answered.delete(socket));
      socket.on("pong", () => {
        if (answered.has(socket)) answered.set(socket, true);
      });
      socket.on("message", () => drop(socket, POLICY, "nothing is heard here"));
      answered.set(socket, true);
      send(socket, JSON.stringify(hello()));
    },
    close: () => {
      clearInterval(timer);
      for (const socket of answered.keys()) drop(socket, GOING_AWAY, "the server stops");
    },
  };
}

/** `GET /v1/events`: the feed as a WebSocket. Needs the role `read`. */
export function addEventRoute(app: FastifyInstance, feed: EventFeed): void {
  app.get("/v1/events", { websocket: true, schema: { hide: true } }, (socket) => feed.add(socket));
}
