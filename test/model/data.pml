/*
 * The data: which replica has what, while owners change, streams are late, disks are slow and copies are repaired.
 *
 * What is modelled: writes that reach each disk in a step of their own and land late, also after a change of owner; mirror
 * messages that overtake a change of session (a former connection's are late) but keep their order within a session; lost
 * messages; a replica that checks epoch and session when a message comes and again when it is on disk; intents, dirty bits,
 * both durable; removal before the acknowledgement; takeover; rejoin by a copy that is not atomic, under new writes; crashes
 * at every step, also of all; forced promotion.
 * What is not: clocks. lease.pml shows that an owner answers no read once another one serves; here a read asks the record.
 *
 * Values: versions, one counter for all blocks. `floor` of a block is the newest version that somebody was told is there, by an
 * acknowledgement or by a read. A read returns it or something newer: nothing acknowledged is lost, and nothing that was read
 * is unread.
 *
 * Each M_ below leaves one guard out: see mutants.ts.
 */
#ifndef N
#define N 2
#endif
#ifndef B
#define B 1
#endif
#ifndef K
#define K 2 /* messages under way */
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef EPOCHS
#define EPOCHS 3
#endif
#ifndef SESSIONS
#define SESSIONS 5
#endif
#ifndef WRITES
#define WRITES 2
#endif
#ifndef FORCED
#define FORCED 0
#endif

#define ALL ((1 << N) - 1)
#define ME(n) (1 << (n))
#define IN(n, set) (((set) >> (n)) & 1)
#define Y(n, b) ((n) * B + (b))
#define D(n, p, b) (((n) * N + (p)) * B + (b))
#if N > 2
#define IF3(what) what
#else
#define IF3(what)
#endif
#if B > 1
#define IFB(what) what
#else
#define IFB(what)
#endif

#define NONE 0
#define WRITE 1  /* a write the owner holds the range lock for */
#define LATE 2   /* only its disk write is left of it: its term is over */
#define COPY 3   /* a block on its way to a replica that joins */

#ifdef M_NON_MEMBER
#define MEMBER(n) true
#else
#define MEMBER(n) IN(n, rIsr)
#endif
#ifdef M_DIRTY_READ
#define MAY_READ(n, b) true
#else
#define MAY_READ(n, b) (st[Y(n, b)] != WRITE)
#endif
#if defined(M_NO_FENCE)
#define PROMISED(n, e, s) true
#elif defined(M_NO_SESSION)
#define PROMISED(n, e, s) (prEp[n] == e)
#else
#define PROMISED(n, e, s) (prEp[n] == e && prSess[n] == s)
#endif
#ifdef M_NO_TERM
#define SAME_TERM(n, b) true
#else
#define SAME_TERM(n, b) (opEp[Y(n, b)] == ep[n])
#endif

/* The record. */
byte rOwner = 0, rEp = 1, rSess = 1, rIsr = ALL;

byte crashes = 0, written = 0, forced = 0;
byte floor[B] = 0;

/* Durable. */
byte val[N * B] = 0;
bit intent[N * B] = 0;
bit dirty[N * N * B] = 0;
byte prEp[N] = 1, prSess[N] = 1;

/* Gone with a crash. */
bit up[N] = 1;
bit own[N] = 0;
byte ep[N] = 0, sess[N] = 0, isr[N] = 0, joining[N] = 0;
/* The operation of a block: its version, term, whether it is on the own disk, and who has it. */
byte st[N * B] = 0, opV[N * B] = 0, opEp[N * B] = 0, opGot[N * B] = 0;
bit opHere[N * B] = 0;
/* What a replica is writing to its disk. */
bit rq[N * B] = 0;
byte rqV[N * B] = 0, rqEp[N * B] = 0, rqSess[N * B] = 0, rqFrom[N * B] = 0;

/* Messages, oldest first. */
byte used = 0;
byte mTo[K] = 0, mFrom[K] = 0, mEp[K] = 0, mSess[K] = 0, mB[K] = 0, mV[K] = 0;

inline raise(b, v) {
  if
  :: v > floor[b] -> floor[b] = v
  :: else
  fi
}

inline forget(n, b) {
  st[Y(n, b)] = NONE; opV[Y(n, b)] = 0; opEp[Y(n, b)] = 0; opGot[Y(n, b)] = 0; opHere[Y(n, b)] = 0
}

inline forgetApply(n, b) {
  rq[Y(n, b)] = 0; rqV[Y(n, b)] = 0; rqEp[Y(n, b)] = 0; rqSess[Y(n, b)] = 0; rqFrom[Y(n, b)] = 0
}

/* No place for it: it is lost, as any message may be. */
inline post(from, to, b, v) {
  if
  :: used < K ->
    mTo[used] = to; mFrom[used] = from; mEp[used] = ep[from]; mSess[used] = sess[from]; mB[used] = b; mV[used] = v; used++
  :: 1
  fi
}

inline take(i) {
  byte j;
  j = i;
  do
  :: j + 1 < used ->
    mTo[j] = mTo[j + 1]; mFrom[j] = mFrom[j + 1]; mEp[j] = mEp[j + 1]; mSess[j] = mSess[j + 1]; mB[j] = mB[j + 1];
    mV[j] = mV[j + 1]; j++
  :: else -> break
  od;
  used--;
  mTo[used] = 0; mFrom[used] = 0; mEp[used] = 0; mSess[used] = 0; mB[used] = 0; mV[used] = 0;
  j = 0
}

/* The term of n is over. What it has begun on its own disk cannot be called back. */
inline depose(n) {
  own[n] = 0; ep[n] = 0; sess[n] = 0; isr[n] = 0; joining[n] = 0;
#ifndef M_NO_TERM
  byte c;
  c = 0;
  do
  :: c < B ->
    if
    :: st[Y(n, c)] == WRITE && !opHere[Y(n, c)] -> st[Y(n, c)] = LATE; opGot[Y(n, c)] = 0; opEp[Y(n, c)] = 0
    :: st[Y(n, c)] == WRITE && opHere[Y(n, c)] -> forget(n, c)
    :: st[Y(n, c)] == COPY -> forget(n, c)
    :: else
    fi;
    c++
  :: else -> break
  od;
  c = 0
#endif
}

inline drained(n, result) {
  byte e;
  e = 0; result = 1;
#ifndef M_NO_DRAIN
  do
  :: e < B ->
    if
    :: rq[Y(n, e)] || st[Y(n, e)] == LATE -> result = 0
    :: else
    fi;
    e++
  :: else -> break
  od;
#endif
  e = 0
}

/* Copies of a session that is over are not answered any more; their blocks stay dirty. */
inline endCopies(n) {
  byte g;
  g = 0;
  do
  :: g < B ->
    if
    :: st[Y(n, g)] == COPY -> forget(n, g)
    :: else
    fi;
    g++
  :: else -> break
  od;
  g = 0
}

/* A member in sync promises the next session, if it is there: else the owner will have to remove it. */
inline follow(p, n) {
  if
  :: up[p] && !own[p] && prEp[p] <= ep[n] && IN(p, rIsr) -> prEp[p] = ep[n]; prSess[p] = sess[n]
  :: else
  fi
}

/* What the own intents name may differ from every other copy. The bits of former terms stay. */
inline startTerm(n) {
  byte h, i;
  h = 0;
  do
  :: h < N ->
    i = 0;
    do
    :: i < B ->
#ifdef M_DROP_BITMAP
      dirty[D(n, h, i)] = 0;
#endif
      if
      :: h != n && intent[Y(n, i)] -> dirty[D(n, h, i)] = 1
      :: else
      fi;
      i++
    :: else -> break
    od;
    h++
  :: else -> break
  od;
  h = 0; i = 0
}

#define RECORD_IS_MINE(n) (rOwner == n && rEp == ep[n] && rSess == sess[n])

proctype Node(byte n) {
  byte p, b;
  bit ok;
again:
  do
  /* A write begins: intent first, then both copies. */
  :: atomic { up[n] && own[n] && written < WRITES ->
      if
      :: b = 0
      IFB(:: b = 1)
      fi;
      if
      :: st[Y(n, b)] == NONE ->
        written++;
#ifndef M_NO_INTENT
        intent[Y(n, b)] = 1;
#endif
        st[Y(n, b)] = WRITE; opV[Y(n, b)] = written; opEp[Y(n, b)] = ep[n]; opGot[Y(n, b)] = 0; opHere[Y(n, b)] = 0;
        p = 0;
        do
        :: p < N ->
          if
          :: p != n && (IN(p, isr[n]) || IN(p, joining[n])) -> post(n, p, b, written)
          :: else
          fi;
          p++
        :: else -> break
        od;
        p = 0
      :: else
      fi;
      b = 0 }
  /* The own disk. */
  :: atomic { up[n] ->
      if
      :: (st[Y(n, 0)] == WRITE || st[Y(n, 0)] == LATE) && !opHere[Y(n, 0)] -> b = 0
      IFB(:: (st[Y(n, 1)] == WRITE || st[Y(n, 1)] == LATE) && !opHere[Y(n, 1)] -> b = 1)
      :: else -> goto again
      fi;
      val[Y(n, b)] = opV[Y(n, b)];
      if
      :: st[Y(n, b)] == LATE -> forget(n, b)
      :: else -> opHere[Y(n, b)] = 1
      fi;
      b = 0 }
  /* The acknowledgement. Who is not in sync and does not have it is marked before. */
  :: atomic { up[n] && own[n] ->
      if
      :: st[Y(n, 0)] == WRITE && opHere[Y(n, 0)] -> b = 0
      IFB(:: st[Y(n, 1)] == WRITE && opHere[Y(n, 1)] -> b = 1)
      :: else -> goto again
      fi;
      if
#ifdef M_ACK_FIRST
      :: SAME_TERM(n, b) ->
#else
      :: SAME_TERM(n, b) && ((isr[n] & ~ME(n)) & ~opGot[Y(n, b)]) == 0 ->
#endif
        p = 0;
        do
        :: p < N ->
          if
          :: p != n && !IN(p, isr[n]) && !IN(p, opGot[Y(n, b)]) ->
#ifndef M_NO_MARK
            dirty[D(n, p, b)] = 1;
#endif
            skip
          :: else
          fi;
          p++
        :: else -> break
        od;
        p = 0;
        raise(b, opV[Y(n, b)]);
        forget(n, b)
      :: else
      fi;
      b = 0 }
  /* A read, while the lease is good. */
  :: atomic { up[n] && own[n] && rOwner == n && rEp == ep[n] ->
      if
      :: b = 0
      IFB(:: b = 1)
      fi;
      if
      :: MAY_READ(n, b) -> assert(val[Y(n, b)] >= floor[b]); raise(b, val[Y(n, b)])
      :: else
      fi;
      b = 0 }

  /* Replica: a message comes. Within a session they keep their order. */
  :: atomic { up[n] && !own[n] && used > 0 ->
      if
      :: mTo[0] == n -> p = 0
#if K > 1
      :: used > 1 && mTo[1] == n && !(mTo[0] == n && mEp[0] == mEp[1] && mSess[0] == mSess[1]) -> p = 1
#endif
#if K > 2
      :: used > 2 && mTo[2] == n && !(mTo[0] == n && mEp[0] == mEp[2] && mSess[0] == mSess[2]) &&
         !(mTo[1] == n && mEp[1] == mEp[2] && mSess[1] == mSess[2]) -> p = 2
#endif
      :: else -> goto again
      fi;
      if
      :: PROMISED(n, mEp[p], mSess[p]) && !rq[Y(n, mB[p])] ->
#ifndef M_NO_REPLICA_INTENT
#if N > 2
        intent[Y(n, mB[p])] = 1;
#endif
#endif
        rq[Y(n, mB[p])] = 1; rqV[Y(n, mB[p])] = mV[p]; rqEp[Y(n, mB[p])] = mEp[p]; rqSess[Y(n, mB[p])] = mSess[p];
        rqFrom[Y(n, mB[p])] = mFrom[p];
#ifdef M_OLD_CONNECTION
        if
        :: take(p)
        :: 1
        fi
#else
        take(p)
#endif
      :: PROMISED(n, mEp[p], mSess[p]) && rq[Y(n, mB[p])] -> skip
      :: else -> take(p)
      fi;
      p = 0 }
  /* Replica: it is on disk. The answer may be lost. */
  :: atomic { up[n] ->
      if
      :: rq[Y(n, 0)] -> b = 0
      IFB(:: rq[Y(n, 1)] -> b = 1)
      :: else -> goto again
      fi;
      val[Y(n, b)] = rqV[Y(n, b)];
      p = rqFrom[Y(n, b)];
      if
      :: PROMISED(n, rqEp[Y(n, b)], rqSess[Y(n, b)]) && up[p] && own[p] && ep[p] == rqEp[Y(n, b)] &&
         (st[Y(p, b)] == WRITE || st[Y(p, b)] == COPY) && opV[Y(p, b)] == rqV[Y(n, b)] && SAME_TERM(p, b) ->
        opGot[Y(p, b)] = opGot[Y(p, b)] | ME(n)
      :: 1
      fi;
      forgetApply(n, b);
      b = 0; p = 0 }

  /* The owner removes a member that does not answer. */
  :: atomic { up[n] && own[n] && rSess < SESSIONS ->
      if
      :: n != 0 && IN(0, isr[n]) -> p = 0
      :: n != 1 && IN(1, isr[n]) -> p = 1
      IF3(:: n != 2 && IN(2, isr[n]) -> p = 2)
      :: else -> goto again
      fi;
      if
      :: RECORD_IS_MINE(n) ->
        rIsr = rIsr & ~ME(p); rSess++; sess[n] = rSess; isr[n] = rIsr; joining[n] = 0;
#if N > 2
        /* The others follow into the new session. */
        p = 0;
        do
        :: p < N ->
          if
          :: p != n && IN(p, isr[n]) -> follow(p, n)
          :: else
          fi;
          p++
        :: else -> break
        od;
#endif
        endCopies(n)
      :: else -> depose(n)
      fi;
      p = 0 }
  :: atomic { up[n] && own[n] && !RECORD_IS_MINE(n) -> depose(n) }

  /* Takeover, also of what is its own, after a restart. */
  :: atomic { up[n] && !own[n] && rEp < EPOCHS && rSess < SESSIONS && MEMBER(n) ->
      drained(n, ok);
      if
      :: ok ->
        rOwner = n; rEp++; rSess++; rIsr = ME(n);
        own[n] = 1; ep[n] = rEp; sess[n] = rSess; isr[n] = rIsr; prEp[n] = rEp; prSess[n] = rSess;
        startTerm(n)
      :: else
      fi;
      ok = 0 }

  /* Rejoin: a new session, the replica promises, and tells where it may differ. */
  :: atomic { up[n] && own[n] && RECORD_IS_MINE(n) && rSess < SESSIONS && joining[n] == 0 ->
      if
      :: n != 0 && !IN(0, isr[n]) && up[0] && !own[0] -> p = 0
      :: n != 1 && !IN(1, isr[n]) && up[1] && !own[1] -> p = 1
      IF3(:: n != 2 && !IN(2, isr[n]) && up[2] && !own[2] -> p = 2)
      :: else -> goto again
      fi;
      drained(p, ok);
      if
      :: ok ->
#ifndef M_NO_SESSION_BUMP
        rSess++; sess[n] = rSess;
#endif
        joining[n] = ME(p);
        prEp[p] = ep[n]; prSess[p] = sess[n];
        b = 0;
        do
        :: b < B ->
#ifndef M_FORGET_INTENTS
          dirty[D(n, p, b)] = dirty[D(n, p, b)] | intent[Y(p, b)];
#endif
          b++
        :: else -> break
        od;
        b = 0;
#if N > 2
        p = 0;
        do
        :: p < N ->
          if
          :: p != n && IN(p, isr[n]) -> follow(p, n)
          :: else
          fi;
          p++
        :: else -> break
        od;
#endif
        skip
      :: else
      fi;
      p = 0; ok = 0 }
  /* One block, under its lock. */
  :: atomic { up[n] && own[n] && joining[n] != 0 ->
      if
      :: IN(0, joining[n]) -> p = 0
      :: IN(1, joining[n]) -> p = 1
      IF3(:: IN(2, joining[n]) -> p = 2)
      :: else -> goto again
      fi;
      if
      :: b = 0
      IFB(:: b = 1)
      fi;
      if
      :: st[Y(n, b)] == NONE && dirty[D(n, p, b)] ->
        st[Y(n, b)] = COPY; opV[Y(n, b)] = val[Y(n, b)]; opEp[Y(n, b)] = ep[n]; opGot[Y(n, b)] = 0; opHere[Y(n, b)] = 1;
#ifdef M_CLEAR_EARLY
        dirty[D(n, p, b)] = 0;
#endif
        post(n, p, b, val[Y(n, b)])
      :: st[Y(n, b)] == COPY && opGot[Y(n, b)] != 0 -> dirty[D(n, p, b)] = 0; forget(n, b)
      /* The link is gone: what is not copied stays dirty. */
      :: st[Y(n, b)] == COPY && opGot[Y(n, b)] == 0 -> joining[n] = 0; endCopies(n)
      :: else
      fi;
      p = 0; b = 0 }
  /* All is copied and nothing is under way: in sync, for the owner first, then in the record. */
  :: atomic { up[n] && own[n] && joining[n] != 0 && RECORD_IS_MINE(n) && rSess < SESSIONS ->
      if
      :: IN(0, joining[n]) -> p = 0
      :: IN(1, joining[n]) -> p = 1
      IF3(:: IN(2, joining[n]) -> p = 2)
      :: else -> goto again
      fi;
      ok = up[p] && !own[p] && prEp[p] == ep[n] && prSess[p] == sess[n];
      b = 0;
      do
      :: b < B ->
        if
        :: st[Y(n, b)] != NONE || dirty[D(n, p, b)] -> ok = 0
        :: else
        fi;
        b++
      :: else -> break
      od;
      b = 0;
      if
      :: ok ->
        joining[n] = 0; isr[n] = isr[n] | ME(p); rIsr = isr[n]; rSess++; sess[n] = rSess;
        b = 0;
        do
        :: b < B -> intent[Y(p, b)] = 0; b++
        :: else -> break
        od;
        b = 0;
        p = 0;
        do
        :: p < N ->
          if
          :: p != n && IN(p, isr[n]) -> follow(p, n)
          :: else
          fi;
          p++
        :: else -> break
        od
      :: else
      fi;
      p = 0; ok = 0 }
  /* What is over needs no intent: everybody has it, or it is noted who lacks it. */
  :: atomic { up[n] && own[n] && RECORD_IS_MINE(n) ->
      if
      :: intent[Y(n, 0)] && st[Y(n, 0)] == NONE -> intent[Y(n, 0)] = 0
      IFB(:: intent[Y(n, 1)] && st[Y(n, 1)] == NONE -> intent[Y(n, 1)] = 0)
      :: else
      fi }
  od
}

proctype World() {
  byte n, b;
again:
  do
  :: atomic { used > 0 ->
      if
      :: take(0)
#if K > 1
      :: used > 1 -> take(1)
#endif
      fi }
  :: atomic { crashes < CRASHES ->
      if
      :: up[0] -> n = 0
      :: up[1] -> n = 1
      IF3(:: up[2] -> n = 2)
      :: else -> goto again
      fi;
      crashes++;
      b = 0;
      do
      :: b < B ->
        if
        :: (st[Y(n, b)] == WRITE || st[Y(n, b)] == LATE) && !opHere[Y(n, b)] -> val[Y(n, b)] = opV[Y(n, b)]
        :: 1
        fi;
        forget(n, b);
        if
        :: rq[Y(n, b)] -> val[Y(n, b)] = rqV[Y(n, b)]
        :: 1
        fi;
        forgetApply(n, b);
        b++
      :: else -> break
      od;
      b = 0;
      up[n] = 0; own[n] = 0; ep[n] = 0; sess[n] = 0; isr[n] = 0; joining[n] = 0; n = 0 }
  :: atomic {
      if
      :: !up[0] -> n = 0
      :: !up[1] -> n = 1
      IF3(:: !up[2] -> n = 2)
      fi;
      up[n] = 1; n = 0 }
#if FORCED > 0
  /* A human says that the owner is off, and it is. What only it had is given up; nothing it has is trusted. */
  :: atomic { forced < FORCED && rSess < SESSIONS && up[1] && !own[1] && !IN(1, rIsr) && !up[0] IF3(&& !up[2]) &&
      !rq[Y(1, 0)] && st[Y(1, 0)] == NONE IFB(&& !rq[Y(1, 1)] && st[Y(1, 1)] == NONE) ->
      forced++; rOwner = 1; rEp++; rSess++; rIsr = ME(1);
      own[1] = 1; ep[1] = rEp; sess[1] = rSess; isr[1] = rIsr; prEp[1] = rEp; prSess[1] = rSess;
      startTerm(1);
      b = 0;
      do
      :: b < B ->
        floor[b] = val[Y(1, b)];
#ifndef M_FORCED_DELTA
        dirty[D(1, 0, b)] = 1;
        IF3(dirty[D(1, 2, b)] = 1;)
#endif
        b++
      :: else -> break
      od;
      b = 0 }
#endif
  od
}

init {
  atomic {
    own[0] = 1; ep[0] = 1; sess[0] = 1; isr[0] = ALL;
    run Node(0);
    run Node(1);
    IF3(run Node(2);)
    run World()
  }
}
