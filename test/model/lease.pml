/*
 * The peer lease: when an owner may answer a read from its own copy, and when another replica may become the owner.
 *
 * What is modelled: clocks of bounded rate, beacons that are delayed, lost and repeated, the promise that a restart forgets,
 * a configuration record changed by compare-and-swap whose answer may be lost and whose request may arrive late (also after
 * its sender died or read the record again), a store that is out for any time (its steps just do not happen), growing and
 * shrinking of the in-sync set, stand-down, forced promotion. No lease of the store is trusted: there is none.
 * What is not: a write reaches all replicas in one step and so does a resync (data.pml takes these apart).
 *
 * Time: every node counts ticks of its own, and no node is ever more than one tick ahead of another. So in any interval two
 * nodes count numbers that differ by 2 at most, and G = L + 2 is the smallest promise that outlives a lease.
 *
 * Values: versions that only rise. `floor` is the newest version that was acknowledged; a read must return what was floor when it began, or newer. That is linearizability of one block.
 *
 * Each M_ below leaves one guard out: see mutants.ts.
 */
#ifndef N
#define N 2
#endif
#ifndef L
#define L 2
#endif
#ifndef G
#define G (L + 2)
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef REVISIONS
#define REVISIONS 4
#endif
#ifndef WRITES
#define WRITES 2
#endif
#ifndef FORCED
#define FORCED 0
#endif
#ifndef LOST
#define LOST 1 /* answers of the store that are lost */
#endif
#ifndef STANDDOWNS
#define STANDDOWNS 0
#endif

#define ALL ((1 << N) - 1)
#define ME(n) (1 << (n))
#define IN(n, set) (((set) >> (n)) & 1)
#define X(o, p) ((o) * N + (p))

/* The guards, and what is left of each when it is left out. */
#ifdef M_NON_MEMBER
#define MEMBER(n) true
#else
#define MEMBER(n) IN(n, rIsr)
#endif
#ifdef M_ANY_STANDDOWN
#define HAS_STOOD_DOWN (stood != 0)
#else
#define HAS_STOOD_DOWN IN(rEpoch, stood)
#endif
#ifdef M_NO_CONFIRM
#define CONFIRMED(n, p) true
#else
#define CONFIRMED(n, p) conf[X(n, p)]
#endif
#ifdef M_GROW_FIRST
#define HOLDS_LEASE(n, p) true
#else
#define HOLDS_LEASE(n, p) (lease[X(n, p)] > 0)
#endif
#if N > 2
#define IF3(what) what
#else
#define IF3(what)
#endif

/* The record. */
byte rOwner = 0, rEpoch = 1, rIsr = ALL, rRev = 1;

/* Budgets, and what hosts have been told. */
byte crashes = 0, written = 0, forced = 0, lost = 0, standdowns = 0;
byte floor = 0;

/* Nodes. val and prEp survive a crash. */
bit up[N] = 1;
byte val[N] = 0;
byte prEp[N] = 1;
bit own[N] = 0;
byte ep[N] = 0;      /* epoch it serves in */
byte lrev[N] = 0;    /* revision of the record it knows of as owner */
byte isr[N] = 0;     /* in-sync set as it must assume it: the larger one while a change is unknown */
bit unk[N] = 0;      /* the outcome of its last change of the set is unknown */
byte tk[N] = 0;      /* takeover: 1 the swap is out, 2 it is known to have been made */
byte tkEp[N] = 0;
byte tkRev[N] = 0;
byte prom[N] = 0;    /* ticks for which it will not take over */
byte stood = 0;      /* bit e: the owner of epoch e has stood down */
byte lease[N * N] = 0;
/*
 * Beacon o -> p: 1 on its way, 2 its answer on its way, 3 an answer of another boot of p than o has heard of; age in ticks of
 * o since it was sent. Beacons are about nodes: p answers whatever it thinks of o's epochs.
 */
byte bst[N * N] = 0, bage[N * N] = 0;
bit rebooted[N * N] = 0;
/* What makes the lease of a node one for this volume: p has said, since the last gap, that it follows o in this epoch. */
bit conf[N * N] = 0;
/* That question: 1 on its way, 2 the answer (yes) on its way. */
byte cf[N * N] = 0;
/* The promise before, and the revision of the attempt, both kept on disk with the promise. */
byte before[N] = 1, aRev[N] = 0;
/* Swap that is out: 1 on its way, 2 made, 3 refused, 4 dealt with but the answer is lost. */
byte cs[N] = 0, cRev[N] = 0, cEp[N] = 0, cIsr[N] = 0;
/* A swap nobody waits for any more, still on its way. */
bit os[N] = 0;
byte oRev[N] = 0, oEp[N] = 0, oIsr[N] = 0;
/* A read, one at a time: 1 begun, 2 has its value. It is the others' writes that could make it wrong. */
byte rd = 0, rn = 0, rf = 0, rv = 0;
bit rok = 0;
bit clk[N] = 0;

inline max(a, b) {
  if
  :: b > a -> a = b
  :: else
  fi
}

/* A swap against a revision that is gone will be refused: forget it, there are fewer states then. */
inline tidy() {
  byte t;
  t = 0;
  do
  :: t < N ->
    if
    :: os[t] && oRev[t] != rRev -> os[t] = 0; oRev[t] = 0; oEp[t] = 0; oIsr[t] = 0
    :: else
    fi;
    t++
  :: else -> break
  od;
  t = 0
}

inline send(n, revision, epoch, set) {
  cs[n] = 1; cRev[n] = revision; cEp[n] = epoch; cIsr[n] = set
}

inline swapOver(n) {
  cs[n] = 0; cRev[n] = 0; cEp[n] = 0; cIsr[n] = 0
}

/* Whoever gives up waiting leaves the request on its way, or it never arrives. */
inline abandon(n) {
  if
  :: cs[n] == 1 && cRev[n] == rRev -> os[n] = 1; oRev[n] = cRev[n]; oEp[n] = cEp[n]; oIsr[n] = cIsr[n]
  :: 1
  fi;
  swapOver(n)
}

inline endRead() {
  rd = 0; rn = 0; rf = 0; rv = 0; rok = 0
}

/* The record has moved on: nothing comes of the attempt any more, and the promise before counts again. */
inline giveUp(n) {
  if
  :: prEp[n] == tkEp[n] -> prEp[n] = before[n]
  :: else
  fi;
  tk[n] = 0; tkEp[n] = 0; tkRev[n] = 0; before[n] = 1; aRev[n] = 0
}

/* What began in a term ends in it: a read is not answered in a later one, whatever that one holds. */
inline depose(n) {
  own[n] = 0; ep[n] = 0; isr[n] = 0; unk[n] = 0; lrev[n] = 0;
#ifndef M_READ_OUTLIVES
  if
  :: rd > 0 && rn == n -> endRead()
  :: else
  fi;
#endif
  byte q;
  q = 0;
  do
  :: q < N ->
    lease[X(n, q)] = 0; bst[X(n, q)] = 0; bage[X(n, q)] = 0; rebooted[X(n, q)] = 0; conf[X(n, q)] = 0; cf[X(n, q)] = 0;
    q++
  :: else -> break
  od;
  q = 0
}

inline holdsLeases(n, result) {
  byte h, have, need;
  h = 0; have = 0; need = 0;
  do
  :: h < N ->
    if
    :: h != n && IN(h, isr[n]) ->
      need++;
      if
      :: lease[X(n, h)] > 0 && CONFIRMED(n, h) -> have++
      :: else
      fi
    :: else
    fi;
    h++
  :: else -> break
  od;
#ifdef M_ONE_LEASE
  result = (need == 0 || have > 0);
#else
  result = (have == need);
#endif
  h = 0; have = 0; need = 0
}

/* Every member of the set takes the write, or it is not acknowledged. */
inline allTake(n, result) {
  byte k;
  k = 0; result = 1;
  do
  :: k < N ->
    if
    :: k != n && IN(k, isr[n]) && !(up[k] && !own[k] && prEp[k] == ep[n]) -> result = 0
    :: else
    fi;
    k++
  :: else -> break
  od;
  k = 0
}

proctype Node(byte n) {
  byte p;
  bit ok;
again:
  do
  /* Owner: beacons. Sending again is losing the last one. */
  :: atomic { up[n] && own[n] ->
      if
      :: n != 0 -> p = 0
      :: n != 1 -> p = 1
      IF3(:: n != 2 -> p = 2)
      :: else -> goto again
      fi;
      bst[X(n, p)] = 1; bage[X(n, p)] = 0; p = 0 }
  /* A beacon arrives. */
  :: atomic { up[n] ->
      if
      :: bst[X(0, n)] == 1 && n != 0 -> p = 0
      :: bst[X(1, n)] == 1 && n != 1 -> p = 1
      IF3(:: bst[X(2, n)] == 1 && n != 2 -> p = 2)
      :: else -> goto again
      fi;
      prom[n] = G;
      if
      :: rebooted[X(p, n)] -> bst[X(p, n)] = 3
      :: else -> bst[X(p, n)] = 2
      fi;
      p = 0 }
  /* Owner: the answer arrives, and may arrive once more. */
  :: atomic { up[n] && own[n] ->
      if
      :: bst[X(n, 0)] >= 2 -> p = 0
      :: bst[X(n, 1)] >= 2 -> p = 1
      IF3(:: bst[X(n, 2)] >= 2 -> p = 2)
      :: else -> goto again
      fi;
#ifdef M_FROM_REPLY
      lease[X(n, p)] = L;
#else
      max(lease[X(n, p)], L - bage[X(n, p)]);
#endif
      if
      /* Another boot of it, which need not follow us. */
      :: bst[X(n, p)] == 3 -> conf[X(n, p)] = 0; cf[X(n, p)] = 0; rebooted[X(n, p)] = 0
      :: else
      fi;
      bst[X(n, p)] = 0; bage[X(n, p)] = 0; p = 0 }
  /* Owner: asks a member whether it follows, asks again, and hears. */
  :: atomic { up[n] && own[n] ->
      if
      :: n != 0 && IN(0, isr[n]) && !conf[X(n, 0)] && lease[X(n, 0)] > 0 && cf[X(n, 0)] == 0 -> p = 0
      :: n != 1 && IN(1, isr[n]) && !conf[X(n, 1)] && lease[X(n, 1)] > 0 && cf[X(n, 1)] == 0 -> p = 1
      IF3(:: n != 2 && IN(2, isr[n]) && !conf[X(n, 2)] && lease[X(n, 2)] > 0 && cf[X(n, 2)] == 0 -> p = 2)
      :: else -> goto again
      fi;
      cf[X(n, p)] = 1; p = 0 }
  :: atomic { up[n] && !own[n] ->
      if
      :: cf[X(0, n)] == 1 && prEp[n] == ep[0] -> p = 0
      :: cf[X(1, n)] == 1 && prEp[n] == ep[1] -> p = 1
      IF3(:: cf[X(2, n)] == 1 && prEp[n] == ep[2] -> p = 2)
      :: else -> goto again
      fi;
      cf[X(p, n)] = 2; p = 0 }
  :: atomic { up[n] && own[n] ->
      if
      :: cf[X(n, 0)] == 2 -> p = 0
      :: cf[X(n, 1)] == 2 -> p = 1
      IF3(:: cf[X(n, 2)] == 2 -> p = 2)
      :: else -> goto again
      fi;
      cf[X(n, p)] = 0; conf[X(n, p)] = 1; p = 0 }

  /* Takeover: also of what is its own, after a restart. */
  :: atomic { up[n] && !own[n] && tk[n] == 0 && cs[n] == 0 && rRev < REVISIONS && MEMBER(n) && (prom[n] == 0 || HAS_STOOD_DOWN) ->
      tk[n] = 1; tkEp[n] = rEpoch + 1; tkRev[n] = rRev;
#ifndef M_PROMISE_LATE
      before[n] = prEp[n]; aRev[n] = rRev; prEp[n] = rEpoch + 1;
#endif
      send(n, rRev, rEpoch + 1, ME(n)) }
  :: atomic { tk[n] == 1 && cs[n] == 2 -> tk[n] = 2; swapOver(n) }
  :: atomic { tk[n] == 1 && cs[n] == 3 ->
      giveUp(n); swapOver(n) }
  :: atomic { tk[n] == 1 && cs[n] == 0 ->
      if
      :: rOwner == n && rEpoch == tkEp[n] -> tk[n] = 2
      :: rRev != tkRev[n] && !(rOwner == n && rEpoch == tkEp[n]) -> giveUp(n)
      :: rRev == tkRev[n] ->
#ifdef M_REREAD_SETTLES
        giveUp(n)
#else
        send(n, rRev, tkEp[n], ME(n))
#endif
      fi }
  :: atomic { up[n] && tk[n] == 2 && rOwner == n && rEpoch == tkEp[n] ->
      own[n] = 1; ep[n] = tkEp[n]; lrev[n] = rRev; isr[n] = ME(n); prEp[n] = tkEp[n];
      tk[n] = 0; tkEp[n] = 0; tkRev[n] = 0 }
#ifdef M_RESUME
  /* "The record says that I am the owner." */
  :: atomic { up[n] && !own[n] && tk[n] == 0 && cs[n] == 0 && rOwner == n ->
      own[n] = 1; ep[n] = rEpoch; lrev[n] = rRev; isr[n] = rIsr; prEp[n] = rEpoch }
#endif

  /* Owner: the in-sync set. */
  :: atomic { up[n] && own[n] && !unk[n] && cs[n] == 0 && rRev < REVISIONS ->
      if
      :: n != 0 && IN(0, isr[n]) -> p = 0
      :: n != 1 && IN(1, isr[n]) -> p = 1
      IF3(:: n != 2 && IN(2, isr[n]) -> p = 2)
      :: else -> goto again
      fi;
      send(n, lrev[n], ep[n], isr[n] & ~ME(p)); p = 0 }
  :: atomic { up[n] && own[n] && !unk[n] && cs[n] == 0 && rRev < REVISIONS ->
      if
      :: n != 0 && !IN(0, isr[n]) && up[0] && !own[0] -> p = 0
      :: n != 1 && !IN(1, isr[n]) && up[1] && !own[1] -> p = 1
      IF3(:: n != 2 && !IN(2, isr[n]) && up[2] && !own[2] -> p = 2)
      :: else -> goto again
      fi;
      if
      :: (prEp[p] <= ep[n] || rRev > aRev[p]) && HOLDS_LEASE(n, p) ->
        val[p] = val[n]; prEp[p] = ep[n]; before[p] = 1; aRev[p] = 0; conf[X(n, p)] = lease[X(n, p)] > 0;
        send(n, lrev[n], ep[n], isr[n] | ME(p));
#ifndef M_COUNT_AFTER
        isr[n] = isr[n] | ME(p)
#endif
      :: else
      fi;
      p = 0 }
  :: atomic { own[n] && cs[n] == 2 -> lrev[n] = lrev[n] + 1; isr[n] = cIsr[n]; unk[n] = 0; swapOver(n) }
  :: atomic { own[n] && cs[n] == 3 -> 
      swapOver(n);
      if
      /* A request sent twice: the first has been made. */
      :: unk[n] && rOwner == n && rEpoch == ep[n] -> lrev[n] = rRev; isr[n] = rIsr; unk[n] = 0
      :: else -> depose(n)
      fi }
  /* No answer in time: unknown. The larger set counts. */
  :: atomic { up[n] && (cs[n] == 4 || (cs[n] == 1 && lost < LOST)) ->
      if
      :: cs[n] == 1 -> lost++
      :: else
      fi;
      if
      :: own[n] ->
        unk[n] = 1;
#ifdef M_OPTIMISTIC
        isr[n] = isr[n] & cIsr[n]
#else
        isr[n] = isr[n] | cIsr[n]
#endif
      :: else
      fi;
      abandon(n) }
  :: atomic { up[n] && own[n] && unk[n] && cs[n] == 0 ->
      if
      :: rRev != lrev[n] && rOwner == n && rEpoch == ep[n] -> lrev[n] = rRev; isr[n] = rIsr; unk[n] = 0
      :: rRev != lrev[n] && !(rOwner == n && rEpoch == ep[n]) -> depose(n)
      :: rRev == lrev[n] ->
#ifdef M_REREAD_SETTLES
        unk[n] = 0; isr[n] = rIsr
#else
        /* Any change of the record kills the request that is still on its way. */
        send(n, lrev[n], ep[n], rIsr)
#endif
      fi }

  /* Owner: a write, acknowledged. */
  :: atomic { up[n] && own[n] && written < WRITES ->
      allTake(n, ok);
#ifdef M_ACK_FIRST
      ok = 1;
#endif
      if
      :: ok ->
        written++;
        val[n] = written;
        p = 0;
        do
        :: p < N ->
          if
          :: p != n && IN(p, isr[n]) && up[p] && !own[p] && prEp[p] == ep[n] -> val[p] = written
          :: else
          fi;
          p++
        :: else -> break
        od;
        p = 0;
        floor = written
      :: else
      fi;
      ok = 0 }

  /* Owner: a read in three steps, with any pause between them. */
  :: atomic { up[n] && own[n] && rd == 0 ->
      rd = 1; rn = n; rf = floor;
#ifdef M_NO_RECHECK
      holdsLeases(n, ok); rok = ok; ok = 0
#endif
    }
  :: atomic { rn == n && rd == 1 -> rd = 2; rv = val[n] }
  :: atomic { rn == n && rd == 2 ->
#ifdef M_NO_RECHECK
      ok = rok;
#else
      holdsLeases(n, ok);
      ok = ok && own[n];
#endif
#ifdef M_OLD_SERVES
      ok = 1;
#endif
      if
      :: ok -> assert(rv >= rf)
      :: else
      fi;
      endRead(); ok = 0 }

#if STANDDOWNS > 0
  :: atomic { up[n] && own[n] && !unk[n] && cs[n] == 0 && standdowns < STANDDOWNS ->
      standdowns++; stood = stood | ME(ep[n]); depose(n) }
#endif
  od
}

proctype World() {
  byte n, p;
again:
  do
  /* Time. */
  :: atomic {
      if
      :: clk[0] == 0 -> n = 0
      :: clk[1] == 0 -> n = 1
      IF3(:: clk[2] == 0 -> n = 2)
      fi;
      clk[n] = 1;
      if
      :: clk[0] && clk[1] IF3(&& clk[2]) -> clk[0] = 0; clk[1] = 0; IF3(clk[2] = 0)
      :: else
      fi;
      if
      :: prom[n] > 0 -> prom[n] = prom[n] - 1
      :: else
      fi;
      p = 0;
      do
      :: p < N ->
        if
        :: bst[X(n, p)] != 0 && bage[X(n, p)] < L -> bage[X(n, p)] = bage[X(n, p)] + 1
        :: else
        fi;
#ifndef M_FROM_REPLY
        /* It could give no lease any more, only a promise too many: the same as lost. */
        if
        :: bage[X(n, p)] == L -> bst[X(n, p)] = 0; bage[X(n, p)] = 0
        :: else
        fi;
#endif
        if
        :: lease[X(n, p)] > 0 ->
#ifdef M_WALL_CLOCK
          /* Somebody sets the clock back. */
          if
          :: lease[X(n, p)] = lease[X(n, p)] - 1
          :: 1
          fi
#else
          lease[X(n, p)] = lease[X(n, p)] - 1
#endif
        :: else
        fi;
        /* A gap: p may promise others what it likes. */
        if
        :: lease[X(n, p)] == 0 -> conf[X(n, p)] = 0; cf[X(n, p)] = 0
        :: else
        fi;
        p++
      :: else -> break
      od;
      n = 0; p = 0 }
  /* The store. */
  :: atomic {
      if
      :: cs[0] == 1 -> n = 0
      :: cs[1] == 1 -> n = 1
      IF3(:: cs[2] == 1 -> n = 2)
      fi;
      if
      :: cRev[n] == rRev ->
        rOwner = n; rEpoch = cEp[n]; rIsr = cIsr[n]; rRev++; cs[n] = 2; tidy()
      :: else -> cs[n] = 3
      fi;
      if
      :: lost < LOST -> lost++; cs[n] = 4
      :: 1
      fi;
      n = 0 }
  :: atomic {
      if
      :: os[0] -> n = 0
      :: os[1] -> n = 1
      IF3(:: os[2] -> n = 2)
      fi;
      assert(oRev[n] == rRev);
      rOwner = n; rEpoch = oEp[n]; rIsr = oIsr[n]; rRev++; tidy(); n = 0 }
  /* Crash and restart. What was sent is on its way. */
  :: atomic { crashes < CRASHES ->
      if
      :: up[0] -> n = 0
      :: up[1] -> n = 1
      IF3(:: up[2] -> n = 2)
      :: else -> goto again
      fi;
      crashes++;
      abandon(n); depose(n);
#ifndef M_SAME_BOOT
      p = 0;
      do
      :: p < N ->
        if
        :: own[p] && p != n -> rebooted[X(p, n)] = 1
        :: else
        fi;
        p++
      :: else -> break
      od;
      p = 0;
#endif
      up[n] = 0; tk[n] = 0; tkEp[n] = 0; tkRev[n] = 0; prom[n] = 0;
      if
      :: rd != 0 && rn == n -> endRead()
      :: else
      fi;
      n = 0 }
  :: atomic {
      if
      :: !up[0] -> n = 0
      :: !up[1] -> n = 1
      IF3(:: !up[2] -> n = 2)
      fi;
      up[n] = 1;
#ifndef M_NO_BOOT_WAIT
      prom[n] = G;
#endif
#ifdef M_TRUST_OWN_DISK
      /* "I was alone in sync when I died, so nobody else can be the owner." */
      if
      :: n == 0 -> own[n] = 1; ep[n] = prEp[n]; lrev[n] = rRev; isr[n] = ME(n)
      :: else
      fi;
#endif
      n = 0 }
#if FORCED > 0
  /* A human says that the others are off, and they are. What they alone had is given up. */
  :: atomic { forced < FORCED && rRev < REVISIONS && tk[1] == 0 && cs[1] == 0 && !own[1] && !IN(1, rIsr) && !up[0] IF3(&& !up[2]) ->
      forced++; rOwner = 1; rEpoch++; rIsr = ME(1); rRev++; floor = val[1]; tidy() }
#endif
  od
}

init {
  atomic {
    own[0] = 1; ep[0] = 1; lrev[0] = 1; isr[0] = ALL;
    run Node(0);
    run Node(1);
#if N > 2
    run Node(2);
#endif
    run World()
  }
}
