// times.js — writes <time> elements for the reader: "2 min ago", "until 14:20", "1 min 12 s", in the reader's zone.
// The server writes a plain time into each; without this file that stays. The server's clock is the one that counts:
// the difference to the browser's is measured with each GET /api/v1/standing, which also tells the scheduler's last beat.
(() => {
  'use strict';
  const SELECTOR = 'time[data-ago], time[data-until], time[data-clock], time[data-since], time[data-tick]';
  const STANDING_MS = 10_000;
  const LATE_AFTER_MS = 10_000;
  const STALE_AFTER_MS = 60_000;

  let skew = 0; // server − browser, ms
  const now = () => Date.now() + skew;

  const format = (options) => new Intl.DateTimeFormat(undefined, options);
  const minute = { hour: '2-digit', minute: '2-digit' };
  const day = { month: 'short', day: 'numeric' };
  const kindsOf = (time) => [format(time), format({ ...day, ...time }), format({ year: 'numeric', ...day, ...time })];
  const toMinute = kindsOf(minute);
  const toSecond = kindsOf({ ...minute, second: '2-digit' });
  const toDay = format(day);
  const full = format({ dateStyle: 'full', timeStyle: 'long' });

  const STEPS = [
    [60, 1, 's'],
    [3_600, 60, 'min'],
    [86_400, 3_600, 'h'],
    [86_400 * 60, 86_400, 'd'],
    [86_400 * 730, 86_400 * 30.44, 'months'],
    [Infinity, 86_400 * 365.25, 'years'],
  ];

  function span(seconds) {
    const [, size, unit] = STEPS.find(([limit]) => seconds < limit);
    return `${Math.floor(seconds / size)} ${unit}`;
  }

  function ago(at) {
    const seconds = Math.round((now() - at) / 1_000);
    if (Math.abs(seconds) < 2) return 'just now';
    return seconds > 0 ? `${span(seconds)} ago` : `in ${span(-seconds)}`;
  }

  function absolute(at, [today, thisYear, other]) {
    const [date, here] = [new Date(at), new Date(now())];
    if (date.toDateString() === here.toDateString()) return today.format(date);
    return (date.getFullYear() === here.getFullYear() ? thisYear : other).format(date);
  }

  /** A round time: the day where it begins one, else hour and minute. */
  function tick(at) {
    const date = new Date(at);
    return date.getHours() || date.getMinutes() ? toMinute[0].format(date) : toDay.format(date);
  }

  function duration(from) {
    const s = Math.max(0, Math.floor((now() - from) / 1_000));
    if (s < 60) return `${s} s`;
    if (s < 3_600) return `${Math.floor(s / 60)} min ${s % 60} s`;
    if (s < 86_400) return `${Math.floor(s / 3_600)} h ${Math.floor((s % 3_600) / 60)} min`;
    return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3_600)} h`;
  }

  function textOf(time, at) {
    if ('ago' in time.dataset) return ago(at);
    if ('since' in time.dataset) return duration(at);
    if ('tick' in time.dataset) return tick(at);
    return 'until' in time.dataset ? `until ${absolute(at, toMinute)}` : absolute(at, toSecond);
  }

  const showsSeconds = (time, age) =>
    ('ago' in time.dataset && age < 61_000) || ('since' in time.dataset && age < 3_600_000);

  function write(time, isAll) {
    const at = Date.parse(time.dateTime);
    if (Number.isNaN(at)) return;
    if (!isAll && !showsSeconds(time, Math.abs(now() - at))) return;
    const text = textOf(time, at);
    if (time.textContent !== text) time.textContent = text;
    if (time.dataset.titled === time.dateTime) return;
    time.title = `${full.format(at)}\n${new Date(at).toISOString().replace('.000Z', 'Z')}`;
    time.dataset.titled = time.dateTime;
  }

  function writeAll(isAll = true) {
    for (const time of document.querySelectorAll(SELECTOR)) if (!time.closest('.tick')) write(time, isAll);
    writeTick();
  }

  // ---- The scheduler's last beat -----------------------------------------------------------------------------------

  const beat = { at: NaN, askedAt: -Infinity, isUnknown: false, isAsking: false };

  function writeTick() {
    const tick = document.querySelector('.tick');
    if (!tick) return;
    if (tick.dataset.tick && tick.dataset.tick !== beat.shown) {
      beat.shown = tick.dataset.tick;
      beat.at = Math.max(beat.at || 0, Date.parse(beat.shown));
    }
    const age = Math.max(0, now() - beat.at);
    const isUnknown = beat.isUnknown || Number.isNaN(age);
    // The scheduler sleeps until something is due: only behind its own promise is it late.
    const within = beat.within ?? Number(tick.dataset.within);
    const isStale = !isUnknown && age > within + STALE_AFTER_MS;
    tick.classList.toggle('late', isUnknown || age > within + LATE_AFTER_MS);
    tick.classList.toggle('stale', isStale);
    const time = tick.querySelector('time');
    const [before, after] = isUnknown ? ['tick ', 'unknown'] : isStale ? ['scheduler silent for ', duration(beat.at)] : ['tick ', ago(beat.at)];
    const text = [...tick.childNodes].find((node) => node.nodeType === 3);
    if (text && text.data.trim() !== before.trim()) text.data = before;
    if (time && time.textContent !== after) time.textContent = after;
  }

  async function ask() {
    if (beat.isAsking || !document.querySelector('.tick')) return;
    beat.isAsking = true;
    beat.askedAt = performance.now();
    try {
      const response = await fetch('/api/v1/standing', { cache: 'no-store', signal: AbortSignal.timeout(8_000) });
      if (response.status === 401) document.dispatchEvent(new CustomEvent('wakeful:signed-out'));
      if (!response.ok) throw new Error(`standing: ${response.status}`);
      const { tick_age_ms: age, tick_within_ms: within } = await response.json();
      beat.within = within;
      const served = Date.parse(response.headers.get('date') ?? '');
      // The header has whole seconds: what is less than two is no difference.
      if (!Number.isNaN(served)) skew = Math.abs(served - Date.now()) > 2_000 ? served - Date.now() : 0;
      beat.isUnknown = typeof age !== 'number';
      if (!beat.isUnknown) beat.at = now() - age;
    } catch {
      beat.isUnknown = true;
    }
    beat.isAsking = false;
    writeTick();
  }

  // ---- The clockwork: nothing runs while the tab is hidden ---------------------------------------------------------

  let timer = 0;
  let turns = 0;

  function turn(isAll = ++turns % 15 === 0) {
    writeAll(isAll);
    if (performance.now() - beat.askedAt >= STANDING_MS) ask();
  }

  function start() {
    if (timer || document.hidden) return;
    turn(true);
    timer = setInterval(turn, 1_000);
  }

  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) return start();
    clearInterval(timer);
    timer = 0;
  });
  document.addEventListener('wakeful:refreshed', () => writeAll());

  start();
})();
