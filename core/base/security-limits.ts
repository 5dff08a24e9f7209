// Limits of who may use the API, and of what is remembered of it; limits.ts passes them on.

/** Characters of a new password at least, and of any password at most (every one of them is hashed). */
export const MIN_PASSWORD = 12;
export const MAX_PASSWORD = 256;
/** Users. */
export const MAX_USERS = 256;
/** API tokens. */
export const MAX_API_TOKENS = 1024;
/** Milliseconds to which the last use of a token is kept: each step is a write to the catalog. */
export const TOKEN_USE_STEP = 3_600_000;
/** Sessions of one user in the console: one more ends the one that was idle longest. */
export const MAX_USER_SESSIONS = 16;
/** Milliseconds a session lives without a request, and in any case. */
export const SESSION_IDLE = 1_800_000;
export const SESSION_LIFETIME = 43_200_000;
/** Milliseconds to which the last request of a session is kept on disk. */
export const SESSION_TOUCH_STEP = 120_000;
/** Milliseconds the code of the first login is good for. */
export const FIRST_LOGIN_LIFETIME = 86_400_000;
/** Passwords that wait for being hashed (one at a time: a hash takes 32 MiB and a thread disks need as well). */
export const MAX_WAITING_HASHES = 16;
/** Failed logins that cost nothing; milliseconds of delay after the next one, which double with each, up to so many. */
export const FREE_LOGIN_FAILURES = 3;
export const LOGIN_DELAY = 1_000;
export const MAX_ADDRESS_DELAY = 900_000;
/** Of an account less: whoever guesses must not be able to lock its owner out. */
export const MAX_ACCOUNT_DELAY = 60_000;
/** Milliseconds without a failure after which it is forgotten; addresses, and accounts, that are remembered at most. */
export const LOGIN_MEMORY = 3_600_000;
export const MAX_LOGIN_SUBJECTS = 4096;
/** Origins that may frame the console, and names of the API. */
export const MAX_FRAME_ORIGINS = 32;
/** Bytes of one file of the audit log, and files. */
export const AUDIT_FILE = 8_388_608;
export const MAX_AUDIT_FILES = 16;
/** Bytes of one entry, and of each of its descriptions of what was before and is after. */
export const MAX_AUDIT_ENTRY = 16_384;
export const MAX_AUDIT_DETAIL = 4_096;
/** Entries that wait in memory while the audit log cannot be written; with one waiting, only deletions are served. */
export const MAX_WAITING_AUDIT = 1_024;
/**
 * Refusals of one caller that are on record one by one: so many at once, and another one each time so many milliseconds have
 * passed; milliseconds after which the others are on record together; callers that are remembered.
 */
export const AUDIT_REFUSALS = 60;
export const AUDIT_REFUSAL_EVERY = 10_000;
export const AUDIT_SUMMARY = 60_000;
export const MAX_REFUSING = 1_024;
/** Entries of one page, by default and at most; entries one request looks at. */
export const AUDIT_PAGE = 100;
export const MAX_AUDIT_PAGE = 1_000;
export const MAX_AUDIT_LOOK = 50_000;
/** Milliseconds between two looks at the certificate files, and at the life left of our own certificate. */
export const TLS_CHECK_INTERVAL = 10_000;
