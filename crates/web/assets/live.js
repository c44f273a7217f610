// live.js — keeps the page true: one event stream per page, and a morph of #page when an event concerns it.
// It never draws anything itself: the server renders, this fetches the same address again and morphs.
// Streams are read with fetch, not EventSource: any event name, the HTTP status, and a watch on silence.
// Also the home of what the other files share: wakeful.stream, wakeful.refresh, wakeful.isKept.
(() => {
  'use strict';
  const wakeful = (window.wakeful ??= {});

  const SILENCE_MS = 45_000; // the server writes a comment every 15 s
  const HIDDEN_MS = 5_000;
  const POLL_MS = 5_000;
  const PATIENCE = 10; // a page rests this many times as long as it took to come,
  const REST_MAX_MS = 5_000; // and no longer than this
  const SETTLED_MS = 20_000; // a stream that lived this long has not failed

  const sleep = (ms, signal) =>
    new Promise((done) => {
      const timer = setTimeout(done, ms);
      signal?.addEventListener('abort', () => (clearTimeout(timer), done()), { once: true });
    });

  // ---- Server-sent events ------------------------------------------------------------------------------------------

  /** Takes chunks of a stream, calls `take({name, id, data})` for each event. */
  function parser(take) {
    const blank = () => ({ name: 'message', id: '', data: null });
    let rest = '';
    let event = blank();
    const field = (line) => {
      const colon = line.indexOf(':');
      const name = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
      if (name === 'event') event.name = value;
      else if (name === 'id') event.id = value;
      else if (name === 'data') event.data = event.data === null ? value : `${event.data}\n${value}`;
    };
    return (chunk) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop();
      for (const raw of lines) {
        const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
        if (line) {
          field(line);
        } else {
          if (event.data !== null) take(event);
          event = blank();
        }
      }
    };
  }

  /** Reads one stream to its end. Rejects with `error.status` when the server refused it, 0 when it was silent. */
  wakeful.stream = async (url, { lastId, onOpen, onEvent, signal }) => {
    const cut = new AbortController();
    const abort = () => cut.abort();
    signal.addEventListener('abort', abort, { once: true });
    let watch;
    const alive = () => {
      clearTimeout(watch);
      watch = setTimeout(abort, SILENCE_MS);
    };
    try {
      alive();
      const headers = { Accept: 'text/event-stream', ...(lastId ? { 'Last-Event-ID': lastId } : {}) };
      const response = await fetch(url, { headers, signal: cut.signal, cache: 'no-store' });
      const isStream = response.headers.get('content-type')?.startsWith('text/event-stream');
      if (!response.ok || !isStream) throw Object.assign(new Error('no stream'), { status: response.status });
      onOpen?.();
      const feed = parser(onEvent);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        alive();
        feed(value);
      }
    } finally {
      clearTimeout(watch);
      signal.removeEventListener('abort', abort);
      cut.abort();
    }
  };

  // ---- The pill ----------------------------------------------------------------------------------------------------

  const live = { text: '', isPaused: false, isSignedOut: false, isLost: false, lastId: '', stop: null };

  function show(state, text) {
    const pill = document.querySelector('live-pill');
    live.text = text;
    if (!pill || pill.dataset.state === state && pill.textContent === text) return;
    pill.dataset.state = state;
    pill.title = state === 'paused' ? 'Go on (p)' : 'Pause the updates (p)';
    const inner = document.createElement(state === 'signed-out' ? 'a' : 'button');
    if (state === 'signed-out') inner.href = '/login';
    else Object.assign(inner, { type: 'button', ariaPressed: String(state === 'paused') });
    inner.textContent = text;
    const hadFocus = pill.contains(document.activeElement);
    pill.replaceChildren(inner);
    if (hadFocus) inner.focus();
  }

  document.addEventListener('click', (event) => {
    if (event.target.closest?.('live-pill button')) wakeful.togglePause();
  });

  wakeful.togglePause = () => {
    if (!isOn() || live.isSignedOut) return;
    live.isPaused = !live.isPaused;
    if (live.isPaused) {
      halt();
      show('paused', 'Paused');
    } else {
      begin();
      due();
    }
  };

  function signedOut() {
    live.isSignedOut = true;
    halt();
    show('signed-out', 'Signed out: log in');
  }

  function unreachable(status) {
    live.isLost = true;
    const words = { 404: 'This page is gone', 403: 'Not allowed any more' };
    show('offline', status ? (words[status] ?? `Server error ${status}`) : 'Cannot reach the server');
  }

  function reached(text = 'Live') {
    live.isLost = false;
    if (!live.isPaused && !live.isSignedOut && isOn()) show('live', text);
  }

  // ---- The stream --------------------------------------------------------------------------------------------------

  const words = () => (document.body.dataset.live ?? '').split(/\s+/).filter(Boolean);
  const isOn = () => words().length > 0 && Boolean(document.body.dataset.company);

  function concerns({ name, data }) {
    if (name === 'gap') return true;
    if (!words().includes(name.split('.')[0])) return false;
    const run = document.body.dataset.run;
    if (!run) return true;
    try {
      const event = JSON.parse(data);
      return event.subject === run || event.data?.run === run;
    } catch {
      return true;
    }
  }

  function take(event) {
    if (event.id) live.lastId = event.id;
    if (concerns(event)) due();
  }

  function address() {
    const url = `/api/v1/companies/${encodeURIComponent(document.body.dataset.company)}/events`;
    return live.lastId ? `${url}?after=${encodeURIComponent(live.lastId)}` : url;
  }

  /** One stream after the other until `signal`; polls when streams do not work here. */
  async function follow(signal) {
    let delay = 1_000;
    let failed = 0;
    for (let isFirst = true; !signal.aborted; isFirst = false) {
      let openedAt = 0;
      let isUseful = false;
      const onOpen = () => {
        openedAt = performance.now();
        if (isFirst) return reached();
        show('reconnecting', 'Catching up');
        due();
      };
      const onEvent = (event) => {
        isUseful = true;
        delay = 1_000;
        take(event);
      };
      let status;
      try {
        await wakeful.stream(address(), { lastId: live.lastId, onOpen, onEvent, signal });
      } catch (error) {
        status = error.status ?? 0;
      }
      if (signal.aborted) return;
      if (status === 401) return signedOut();
      if (openedAt && performance.now() - openedAt > SETTLED_MS) isUseful = true;
      failed = isUseful ? 0 : failed + 1;
      if (openedAt) show('reconnecting', 'Reconnecting');
      else unreachable(status);
      if (failed >= 3) await poll(signal);
      else await sleep(delay + Math.random() * 300, signal);
      delay = Math.min(delay * 2, 15_000);
    }
  }

  /** Half a minute of asking every 5 s; ends at once when the server is back. */
  async function poll(signal) {
    for (let i = 0; i < 6 && !signal.aborted; i += 1) {
      const wasLost = live.isLost;
      await refresh();
      if (wasLost && !live.isLost) return;
      if (!live.isLost && !signal.aborted) show('live', 'Polling');
      await sleep(POLL_MS, signal);
    }
  }

  function begin() {
    if (live.stop || live.isPaused || live.isSignedOut || document.hidden || !isOn()) return;
    live.stop = new AbortController();
    follow(live.stop.signal);
  }

  function halt() {
    live.stop?.abort();
    live.stop = null;
  }

  let hiding;
  document.addEventListener('visibilitychange', () => {
    clearTimeout(hiding);
    if (document.hidden) {
      hiding = setTimeout(halt, HIDDEN_MS);
    } else {
      begin();
      if (plan.isDue) due();
    }
  });
  addEventListener('pagehide', halt);
  addEventListener('pageshow', (event) => {
    if (!event.persisted) return;
    begin();
    due();
  });

  // ---- When to refresh ---------------------------------------------------------------------------------------------

  const plan = { isDue: false, timer: 0, lastAt: -Infinity, tookMs: 0, running: null };

  /** The page is out of date: it is refreshed soon, at most once a second, and the less often the longer the server takes. */
  function due() {
    plan.isDue = true;
    if (plan.timer || plan.running || document.hidden || live.isPaused) return;
    const pause = Math.min(REST_MAX_MS, Math.max(1_000, PATIENCE * plan.tookMs));
    const wait = Math.max(150, plan.lastAt + pause - performance.now()) + Math.random() * 300;
    plan.timer = setTimeout(() => {
      plan.timer = 0;
      if (!document.hidden && !live.isPaused) refresh();
    }, wait);
  }

  /** Refreshes now. `isForced`: lists under the pointer, too. True when the page is what the server says. */
  function refresh({ isForced = false } = {}) {
    if (plan.running && !isForced) return plan.running;
    plan.isDue = false;
    const beganAt = performance.now();
    const mine = (plan.running = load(isForced).then((isDone) => {
      if (plan.running === mine) plan.running = null;
      plan.lastAt = performance.now();
      plan.tookMs = plan.lastAt - beganAt;
      if (plan.isDue) due();
      return isDone;
    }));
    return mine;
  }
  wakeful.refresh = refresh;

  let loading;
  async function load(isForced) {
    loading?.abort();
    loading = new AbortController();
    const { signal } = loading;
    try {
      const headers = { Accept: 'text/html' };
      const response = await fetch(location.href, { headers, cache: 'no-store', signal });
      const isLogin = response.redirected && new URL(response.url).pathname.startsWith('/login');
      if (response.status === 401 || isLogin) return signedOut(), false;
      if (!response.ok) return lost(response.status), false;
      const fresh = new DOMParser().parseFromString(await response.text(), 'text/html');
      if (!fresh.getElementById('page')) return lost(response.status), false;
      apply(fresh, isForced);
      reached();
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      if (!(error instanceof TypeError)) console.error(error);
      lost(0);
      return false;
    }
  }

  function lost(status) {
    unreachable(status);
    if (status && status < 500) return; // the next event tries again
    plan.isDue = true;
    setTimeout(() => plan.isDue && due(), 3_000);
  }

  // ---- The morph ---------------------------------------------------------------------------------------------------

  const dirty = new WeakSet();
  for (const kind of ['input', 'change']) {
    document.addEventListener(kind, (event) => event.target.form && dirty.add(event.target.form), true);
  }
  document.addEventListener('reset', (event) => dirty.delete(event.target), true);
  wakeful.isDirty = (form) => dirty.has(form);
  wakeful.setDirty = (form) => dirty.add(form);
  wakeful.setClean = (form) => dirty.delete(form);

  const isTyped = (el) => el.matches('input, textarea') && !el.form && el === document.activeElement && el.value !== el.defaultValue;
  const isKept = (el) => el.matches('[data-keep], [data-made], [aria-busy=true]') || dirty.has(el) || isTyped(el);
  const hasKept = (el) => el.matches('[data-made]') || dirty.has(el) || [...el.querySelectorAll('form')].some((form) => dirty.has(form));

  let held = new Map(); // lists not to be touched now → what the server has for them

  const callbacks = {
    beforeNodeMorphed(old, fresh) {
      if (old.nodeType !== 1) return true;
      if (held.has(old)) {
        held.set(old, fresh.cloneNode(true));
        return false;
      }
      if (!isKept(old)) return true;
      if (old.matches('[data-keep]')) copyData(old, fresh);
      return false;
    },
    beforeNodeRemoved: (node) => node.nodeType !== 1 || !hasKept(node),
    // What the reader opened stays open; the row that has the focus keeps it.
    beforeAttributeUpdated: (name, el) => !(name === 'open' && el.matches('details, dialog')) && !(name === 'tabindex' && el.matches('[data-row]')),
  };
  if (window.Idiomorph) Object.assign(Idiomorph.defaults.callbacks, callbacks);

  function copyData(old, fresh) {
    for (const { name, value } of fresh.attributes ?? []) {
      if (name.startsWith('data-') && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
  }

  const keyOf = (row) => row.id || row.dataset.href || '';
  const rowsOf = (root) => [...root.querySelectorAll('[data-row]')];
  wakeful.keyOf = keyOf;

  // On a touch screen the last thing touched stays hovered.
  let isMouse = false;
  document.addEventListener('pointermove', (event) => (isMouse = event.pointerType === 'mouse'), { passive: true });

  function isHeld(list) {
    const active = document.activeElement;
    const selection = getSelection();
    const isHovered = isMouse && list.matches(':hover');
    const isFocused = list.contains(active) && active.matches(':focus-visible');
    const isSelected = !selection.isCollapsed && list.contains(selection.anchorNode);
    return isHovered || isFocused || isSelected || list.querySelector('.picked') !== null;
  }
  const heldLists = () => [...document.querySelectorAll('#page [data-list]')].filter(isHeld);

  function apply(fresh, isForced) {
    const known = new Set(rowsOf(document).map(keyOf));
    const active = document.activeElement;
    held = new Map((isForced ? [] : heldLists()).map((list) => [list, null]));
    document.body.dataset.live = fresh.body.dataset.live ?? '';
    if (fresh.title) document.title = fresh.title;
    morph('#page', fresh, 'outerHTML');
    morph('#side', fresh, 'innerHTML');
    const tick = document.querySelector('.tick');
    const beat = fresh.querySelector('.tick')?.dataset.tick;
    if (tick && beat) tick.dataset.tick = beat;
    const waiting = [...held].filter(([list, next]) => next && list.isConnected);
    held = new Map();
    sweepBars(waiting.map(([list, next]) => updateHeld(list, next)).filter(Boolean));
    if (known.size) rowsOf(document).filter((row) => !known.has(keyOf(row))).forEach(flash);
    if (active !== document.activeElement && active?.isConnected) active.focus({ preventScroll: true });
    document.dispatchEvent(new CustomEvent('wakeful:refreshed'));
  }

  function morph(selector, fresh, morphStyle) {
    const [old, next] = [document.querySelector(selector), fresh.querySelector(selector)];
    if (!old || !next) return;
    const content = morphStyle === 'innerHTML' ? next.childNodes : next;
    Idiomorph.morph(old, content, { morphStyle });
  }

  function flash(row) {
    row.classList.add('fresh');
    setTimeout(() => row.classList.remove('fresh'), 2_000);
  }

  // ---- Lists under the pointer: rows change in place, none comes, goes or moves ------------------------------------

  function updateHeld(list, next) {
    const rows = rowsOf(list);
    const newer = new Map(rowsOf(next).map((row) => [keyOf(row), row]));
    const known = new Set(rows.map(keyOf));
    const order = [...newer.keys()];
    for (const row of rows) {
      const to = newer.get(keyOf(row));
      const isTouched = row.matches(':hover, .picked') || row.contains(document.activeElement);
      if (to && !isTouched) Idiomorph.morph(row, to.cloneNode(true), { morphStyle: 'outerHTML' });
    }
    const count = order.filter((key) => !known.has(key)).length;
    const isSame = rows.length === order.length && rows.every((row, i) => keyOf(row) === order[i]);
    return isSame ? null : showBar(list, count);
  }

  let bars = 0;
  function showBar(list, count) {
    const anchor = list.closest('.scroll') ?? list;
    let bar = anchor.previousElementSibling;
    if (!bar?.matches('.notice.new')) {
      bar = document.createElement('div');
      Object.assign(bar, { className: 'notice new', id: `live-new-${(bars += 1)}` });
      bar.setAttribute('role', 'status');
      bar.dataset.made = '';
      const button = document.createElement('button');
      Object.assign(button, { type: 'button', className: 'button quiet', title: 'Show (n)' });
      bar.append(button);
      const top = anchor.offsetTop;
      anchor.before(bar);
      bar.dataset.shift = top - anchor.offsetTop;
    }
    anchor.style.marginTop = `${bar.dataset.shift}px`; // the bar lies over the list: nothing moves under the pointer
    bar.firstChild.textContent = count ? `${count} new · show` : 'The list has changed · show';
    return bar;
  }

  let watch = 0;
  function sweepBars(kept) {
    for (const bar of document.querySelectorAll('.notice.new[data-made]')) {
      if (kept.includes(bar)) continue;
      bar.nextElementSibling?.style.removeProperty('margin-top');
      bar.remove();
    }
    clearInterval(watch);
    if (!kept.length) return;
    watch = setInterval(() => {
      if (document.hidden || live.isPaused || heldLists().length) return;
      clearInterval(watch);
      due();
    }, 400);
  }

  /** Shows what is waiting behind "7 new". False when nothing is. */
  wakeful.showNew = () => {
    const bar = document.querySelector('.notice.new[data-made]');
    if (!bar) return false;
    const hadFocus = bar.contains(document.activeElement);
    refresh({ isForced: true }).then(() => hadFocus && document.getElementById('page')?.focus({ preventScroll: true }));
    return true;
  };
  document.addEventListener('click', (event) => {
    if (event.target.closest?.('.notice.new[data-made] button')) wakeful.showNew();
  });

  document.addEventListener('wakeful:signed-out', signedOut);
  live.lastId = document.body.dataset.cursor ?? '';
  customElements.define(
    'live-pill',
    class extends HTMLElement {
      connectedCallback() {
        this.setAttribute('role', 'status');
        if (isOn()) show('reconnecting', 'Connecting');
        else this.hidden = true;
      }
    },
  );
  begin();
})();
