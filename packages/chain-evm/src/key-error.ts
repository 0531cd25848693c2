/**
 * A key could not be used: its file can't be read, is open to others, holds no key, or the keystore does
 * not open. Neither message nor cause ever holds the key, the password, or a part of them.
 */
export class KeyError extends Error {
  override readonly name = "KeyError";
  readonly code:
    | "KEY_INVALID"
    | "KEY_FILE_UNREADABLE"
    | "KEY_FILE_EXPOSED"
    /** Not a version 3 keystore, or a broken one. */
    | "KEYSTORE_INVALID"
    /** A cipher or key derivation that is not known here. */
    | "KEYSTORE_UNSUPPORTED"
    /** Opening it would take more memory or time than any honest keystore does. */
    | "KEYSTORE_TOO_EXPENSIVE"
    | "KEYSTORE_PASSWORD_WRONG"
    /** The key inside is another account's than the file says. */
    | "KEYSTORE_ADDRESS_MISMATCH";
  /** The same file fails the same way. */
  readonly retryable = false;
  constructor(code: KeyError["code"], message: string) {
    super(message);
    this.code = code;
  }
}
