// log-view.js — <log-view>: the log of a run, any length, of which only what is on the screen is in the document.
// Records come in pages by line number (a few MiB are kept) and, while the run is live, by a stream behind the last.
// Rows are placed from one base line up- and downwards by their heights; the scrollbar is an estimate that is exact
// at both ends. A row is one record, or a long line of several (log-lines.js); what it says is text (log-text.js).
(() => {
  'use strict';
  const wakeful = (window.wakeful ??= {});
  const ROW = 20; // px, as in app.css
  const SPACE_MAX = 8_000_000; // px; browsers lose precision not far above
  const EDGE = 1_000; // lines at both ends within which the scrollbar is exact
  const OVER = 400; // px drawn above and below what is seen
  const PAGE_BYTES = 256 * 1024;
  const KEPT_BYTES = 8 * 1024 * 1024;
  const CLIP = 4_000; // characters of a line
  const LOOK_BACK = 128 * 1024; // bytes read before a page from the middle, for the colours and the line that go on in it
  const AHEAD = 200; // lines asked for before they are seen
  const BEHIND_MAX = 20_000; // lines; one that is further behind starts again at the end

  const { plain, nodesOf, textOf, summary } = wakeful.logText;
  const count = new Intl.NumberFormat(undefined);
  const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3, hour12: false });
  const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  /** A line of an answer; the first one of an answer by offset may be torn. */
  function recordOf(line) {
    try {
      return line && JSON.parse(line);
    } catch {
      return null;
    }
  }

  function size(bytes) {
    const units = ['B', 'kB', 'MB', 'GB', 'TB'];
    const power = clamp(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), 0, 4);
    return `${(bytes / 1_000 ** power).toFixed(power ? 1 : 0)} ${units[power]}`;
  }

  // ---- Pages of records --------------------------------------------------------------------------------------------

  class Pages {
    constructor() {
      this.all = []; // by line
      this.bytes = 0;
      this.turn = 0;
    }

    of(line) {
      const hit = this.last;
      if (hit && line >= hit.from && line <= hit.to && hit.isKept) return hit;
      const page = this.all.find(({ from, to }) => line >= from && line <= to);
      if (page) this.last = page;
      return page;
    }

    record(line) {
      return this.of(line)?.records[line - this.of(line).from];
    }

    /** Puts records in that begin at `from`; lines that are there already are left out. Returns the page. */
    add(from, records, bytes) {
      const next = this.all.find((page) => page.to >= from);
      if (next && next.from <= from) from = Math.max(from, next.to + 1);
      const after = this.all.find((page) => page.from > from);
      const own = records.filter(({ seq }) => seq >= from && (!after || seq < after.from));
      const to = own.at(-1)?.seq ?? (after ? after.from - 1 : 0); // without records: a gap in the log
      if (to < from) return null;
      const page = { from, to, records: [], bytes, used: (this.turn += 1), isKept: true };
      for (const record of own) page.records[record.seq - from] = record;
      this.all.push(page);
      this.all.sort((a, b) => a.from - b.from);
      this.bytes += bytes;
      return page;
    }

    /** One record behind the last page, in that page or a new one. */
    append(record, bytes) {
      const page = this.all.at(-1);
      if (!page || page.to !== record.seq - 1 || page.bytes > PAGE_BYTES) return this.add(record.seq, [record], bytes);
      page.records.push(record);
      page.to = record.seq;
      page.bytes += bytes;
      this.bytes += bytes;
      return page;
    }

    /** Drops what was not used for the longest time; tells of each page. */
    trim(dropped) {
      while (this.bytes > KEPT_BYTES && this.all.length > 2) {
        const oldest = this.all.reduce((a, b) => (a.used < b.used ? a : b));
        this.all.splice(this.all.indexOf(oldest), 1);
        this.bytes -= oldest.bytes;
        oldest.isKept = false;
        dropped(oldest);
      }
    }
  }

  // ---- The element -------------------------------------------------------------------------------------------------

  class LogView extends HTMLElement {
    static observedAttributes = ['data-records', 'data-live'];

    connectedCallback() {
      this.dataset.keep = '';
      this.classList.add('log');
      if (!this.body) this.build();
      this.gone = new AbortController();
      const { signal } = this.gone;
      addEventListener('hashchange', () => this.readHash(), { signal });
      document.addEventListener('visibilitychange', () => (document.hidden ? this.unfollow() : this.wake()), { signal });
      this.sizes = new ResizeObserver(() => this.resized());
      this.sizes.observe(this.body);
      if (this.records === undefined) this.begin();
      else this.wake();
    }

    disconnectedCallback() {
      this.gone.abort();
      this.sizes.disconnect();
      this.unfollow();
      this.asked?.abort();
    }

    attributeChangedCallback() {
      if (this.records === undefined) return;
      if (this.isLive) this.total = Math.max(this.total, this.known); // also where streams do not get through
      if (this.isLive && this.dataset.live === 'false') setTimeout(() => this.isLive && this.finish(), 5_000);
      this.draw();
    }

    finish() {
      this.isLive = false;
      this.bytes = Math.max(this.bytes, Number(this.dataset.bytes) || 0);
      this.unfollow();
      this.say('');
      this.draw();
    }

    get known() {
      return Number(this.dataset.records) || 0;
    }

    begin() {
      this.records = new Pages();
      this.total = this.known;
      this.bytes = Number(this.dataset.bytes) || 0;
      this.isLive = this.dataset.live === 'true';
      this.rows = new Map(); // line → {el, look}
      this.heights = new Map(); // line → px, where it is not ROW
      this.extra = 0;
      this.lines = new wakeful.LogLines(this.records);
      this.shown = new Set(); // lines unfolded: JSON opened (j…), whole text (f…), calls (g…)
      this.base = { line: 1, top: 0 };
      this.mark = null;
      this.times = 'off';
      this.hits = { text: '', lines: [], at: -1, count: 0, isWhole: true };
      this.isFollowing = this.isLive && !location.hash.startsWith('#L');
      this.lastTop = 0;
      this.draw();
      if (!this.readHash() && !this.isFollowing) this.need(1);
      this.wake();
    }

    // ---- Parts

    build() {
      const { make } = wakeful;
      const button = (text, title, act) => {
        const el = make('button', { type: 'button', textContent: text, title });
        el.addEventListener('click', act);
        return el;
      };
      this.input = make('input', { type: 'search', placeholder: 'Search the log', ariaLabel: 'Search the log', autocomplete: 'off' });
      this.input.dataset.search = '';
      this.input.addEventListener('input', () => this.typed());
      this.input.addEventListener('keydown', (event) => this.inputKey(event));
      this.found = make('span', { className: 'log-found' });
      this.found.setAttribute('role', 'status');
      const [before, after] = [button('↑', 'Match before (N)', () => this.step(-1)), button('↓', 'Next match (n)', () => this.step(1))];
      before.ariaLabel = 'Match before';
      after.ariaLabel = 'Next match';
      const wrap = button('Wrap', 'Wrap long lines', () => this.toggleWrap(wrap));
      wrap.ariaPressed = 'false';
      this.timesButton = button('Times: off', 'Times: off, since the start, of day', () => this.nextTimes());
      const raw = make('a', { href: this.dataset.raw ?? '', textContent: 'Download', download: '' });
      const parts = this.dataset.find ? [this.input, before, after, this.found] : [];
      if (this.dataset.raw) parts.push(raw);
      this.space = make('div', { className: 'log-space' });
      this.body = make('div', { className: 'log-body', tabIndex: 0, ariaLabel: 'Log of the run' }, this.space);
      this.body.style.overflowAnchor = 'none'; // the rows keep their places by themselves
      this.body.setAttribute('role', 'log');
      this.body.setAttribute('aria-live', 'off');
      this.end = button('Jump to end ↓', 'The last line, and follow (End)', () => this.toEnd());
      this.end.className = 'log-end';
      this.end.hidden = true;
      const roll = (event) => {
        event.preventDefault();
        this.body.scrollTop += event.deltaY;
      };
      this.end.addEventListener('wheel', roll, { passive: false }); // it lies over the log, not in it
      this.status = make('div', { className: 'log-status' });
      this.said = make('span');
      this.trouble = make('span');
      this.trouble.setAttribute('role', 'status');
      this.status.append(this.said, this.trouble);
      this.replaceChildren(make('div', { className: 'log-bar' }, wrap, this.timesButton, ...parts), this.body, this.end, this.status);
      this.body.addEventListener('scroll', () => this.scrolled(), { passive: true });
      this.body.addEventListener('click', (event) => this.clicked(event));
      this.body.addEventListener('copy', (event) => this.copied(event));
      this.addEventListener('keydown', (event) => this.key(event));
    }

    // ---- Getting records

    get perPage() {
      const each = this.total && this.bytes ? this.bytes / this.total : 120;
      return Math.max(50, Math.floor(PAGE_BYTES / each));
    }

    /** Asks for the page that has `line`, unless it is there; a page that is not wanted any more is given up. */
    need(line, isUp = false) {
      if (line < 1 || line > Math.max(this.total, 1) || this.records.of(line)) return;
      if (this.asked) {
        const { from, to } = this.asked;
        if (line >= from && line <= to) return;
        this.asked.abort();
      }
      let from = isUp ? Math.max(1, line - Math.floor(this.perPage * 0.7)) : line;
      while (this.records.of(from)) from = this.records.of(from).to + 1;
      const asked = (this.asked = Object.assign(new AbortController(), { from, to: from + this.perPage }));
      const isWanted = this.fetchFrom(from, asked.signal).then((page) => {
        this.asked = null;
        if (!page) return;
        this.take(from, page);
        this.setEnd(from, page);
        this.draw();
      });
      isWanted.catch((error) => this.failed(error, asked));
    }

    /** What a page says about where the log ends: before it when it is empty, behind it when there is more. */
    setEnd(from, { records, isComplete }) {
      const last = this.records.all.at(-1)?.to ?? 0;
      this.isEmpty = records.length === 0 && last === 0;
      if (records.length === 0) this.total = Math.min(this.total, Math.max(from - 1, last));
      else if (!this.isLive && !isComplete && records.at(-1).seq >= this.total) this.total = records.at(-1).seq + 1;
    }

    failed(error, asked) {
      if (asked !== this.asked || asked.signal.aborted) return;
      this.asked = null;
      if (error.isFinal) return this.say(error.message);
      this.say('Cannot reach the server; trying again');
      setTimeout(() => this.isConnected && this.draw(), 3_000);
    }

    /** A page, and what is before it as far as colours and long lines are looked for, unless that is there. */
    async fetchFrom(line, signal) {
      const page = await this.fetch({ line }, signal);
      if (line === 1 || this.records.of(line - 1) || page.records.length === 0) return page;
      const end = page.next - page.size;
      const offset = Math.max(0, end - LOOK_BACK);
      if (end <= 0) return page;
      const { records } = await this.fetch({ offset }, signal, end - offset);
      const earlier = records.filter(({ seq }) => seq < line);
      return { ...page, earlier };
    }

    async fetch(where, signal, limit = PAGE_BYTES) {
      const url = new URL(this.dataset.src, location.origin);
      for (const [key, value] of Object.entries({ ...where, limit })) url.searchParams.set(key, value);
      const response = await fetch(url, { signal, headers: { Accept: 'application/x-ndjson' } });
      if (response.status === 401) document.dispatchEvent(new CustomEvent('wakeful:signed-out'));
      if (!response.ok) {
        const problem = await response.json().catch(() => ({}));
        throw Object.assign(new Error(problem.detail ?? `The server answered ${response.status}`), { isFinal: response.status < 500 });
      }
      const bytes = await response.arrayBuffer();
      const text = new TextDecoder().decode(bytes);
      this.say('');
      return {
        records: text.split('\n').map(recordOf).filter(Boolean),
        bytes: text.length,
        size: bytes.byteLength,
        next: Number(response.headers.get('wakeful-next-offset')) || 0,
        isComplete: response.headers.get('wakeful-log-complete') === 'true',
      };
    }

    take(from, { records, bytes, next, earlier = [] }) {
      if (records.length === 0) return;
      // What comes directly before belongs to the page, as far as it is not there yet.
      for (const record of earlier.reverse()) {
        if (record.seq !== from - 1 || this.records.of(record.seq)) break;
        records.unshift(record);
        from -= 1;
      }
      this.total = Math.max(this.total, records.at(-1).seq);
      this.bytes = Math.max(this.bytes, next);
      const page = this.records.add(from, records, bytes);
      if (page) this.read(page);
      this.records.trim((old) => this.forget(old));
    }

    /** Of a page that is dropped only that remains which goes on in it: its lines go on taking no room. */
    forget(page) {
      const end = this.lines.forget(page);
      for (const [line, height] of [...this.heights]) if (line >= page.from && line <= page.to && height > 0) this.setHeight(line, ROW);
      this.settle(page.from, end);
    }

    // ---- Following

    wake() {
      if (this.isLive && !this.follower && !document.hidden) this.follow();
      else this.draw();
    }

    unfollow() {
      this.follower?.abort();
      this.follower = null;
    }

    async follow() {
      const { signal } = (this.follower = new AbortController());
      for (let delay = 1_000; !signal.aborted && this.isLive; delay = Math.min(delay * 2, 15_000)) {
        try {
          if (this.offset === undefined || this.known - this.seen > BEHIND_MAX) await this.readTail(signal);
          const url = new URL(this.dataset.src, location.origin);
          url.searchParams.set('offset', this.offset);
          const onEvent = (event) => {
            delay = 1_000;
            this.event(event);
          };
          await wakeful.stream(url, { lastId: String(this.offset), onOpen: () => this.say(''), onEvent, signal });
        } catch (error) {
          if (signal.aborted) return;
          if (error.isFinal || error.status === 401) return this.say(error.message);
        }
        if (signal.aborted || !this.isLive) return;
        this.say('Reconnecting');
        await sleep(delay);
      }
    }

    /** Reads the last pages, to where the stream goes on. */
    async readTail(signal) {
      this.total = Math.max(this.total, this.known);
      let line = Math.max(1, this.total - Math.floor(this.perPage / 2));
      for (;;) {
        const page = await this.fetchFrom(line, signal);
        this.take(line, page);
        this.offset = page.next;
        if (page.records.length) line = page.records.at(-1).seq + 1;
        this.seen = line - 1;
        this.draw();
        if (page.bytes < PAGE_BYTES / 2) return;
      }
    }

    event({ name, id, data }) {
      if (id) this.offset = Number(id);
      if (name === 'end') {
        this.finish();
      } else if (name === 'log') {
        const record = JSON.parse(data);
        this.seen = record.seq;
        if (record.seq <= this.total && this.records.of(record.seq)) return;
        this.total = Math.max(this.total, record.seq);
        this.bytes = Math.max(this.bytes, this.offset || 0);
        const page = this.records.append(record, data.length);
        if (page) {
          page.used = this.records.turn += 1;
          this.settle(this.lines.append(page, record), record.seq);
        }
        this.records.trim((old) => this.forget(old));
      }
      this.draw();
    }

    // ---- What is folded

    /** Reads a page for its lines and calls; unfolds what hides the line that is looked for. */
    read(page) {
      const { from, to } = this.lines.read(page);
      this.settle(from, to);
      if (this.target) this.reveal(this.target);
    }

    /** Lines that stand in another row, or in a call that is folded, take no room. */
    settle(from, to) {
      const folded = [...this.lines.calls.values()].filter((call) => call.to >= from && call.from < to && !this.shown.has(`g${call.from}`));
      for (let line = from; line <= to; line += 1) {
        const isHidden = this.isJoined(line) || folded.some((call) => line > call.from && line <= call.to);
        const height = this.height(line);
        if (isHidden !== (height === 0)) this.setHeight(line, isHidden ? 0 : ROW);
        const row = this.rows.get(line);
        if (row && !isHidden) row.isMeasured = false;
      }
    }

    /** Whether the row of another line shows it. */
    isJoined(line) {
      const whole = this.lines.pieces.get(line);
      if (!whole || whole.head === line) return false;
      return !this.shown.has(`f${whole.head}`) || !whole.leads.includes(line) || Boolean(this.lines.jsonOf(whole));
    }

    /** Unfolds the call in which `line` is hidden, and the long line that it is a piece of. */
    reveal(line) {
      const call = this.lines.callAt(line);
      if (call && line > call.from && !this.shown.has(`g${call.from}`)) this.unfold(`g${call.from}`, call.from, call.to);
      const whole = this.lines.pieces.get(line);
      if (whole && whole.head !== line && !this.shown.has(`f${whole.head}`)) this.unfold(`f${whole.head}`, whole.head, whole.seqs.at(-1));
    }

    unfold(key, from, to) {
      this.shown.add(key);
      this.settle(from, to);
    }

    // ---- Heights and places

    height(line) {
      return this.heights.get(line) ?? ROW;
    }

    setHeight(line, px) {
      this.extra += px - this.height(line);
      if (px === ROW) this.heights.delete(line);
      else this.heights.set(line, px);
    }

    get length() {
      return Math.min(this.total * ROW, SPACE_MAX) + this.extra;
    }

    /** Where the scrollbar stands for a line: exact near both ends, and everywhere in a log that is not scaled. */
    ideal(line) {
      const isScaled = this.total * ROW > SPACE_MAX;
      const sum = (from, to) => {
        let px = (to - from) * ROW;
        for (const [at, height] of this.heights) if (at >= from && at < to) px += height - ROW;
        return px;
      };
      if (!isScaled || line <= EDGE) return sum(1, line);
      if (line > this.total - EDGE) return this.length - sum(line, this.total + 1);
      const edge = EDGE * ROW;
      return edge + ((line - EDGE) / (this.total - 2 * EDGE)) * (this.length - 2 * edge);
    }

    /** The line for a place of the scrollbar. */
    lineAt(top) {
      const edge = EDGE * ROW;
      if (this.total * ROW <= SPACE_MAX) return clamp(Math.floor((top / Math.max(this.length, 1)) * this.total) + 1, 1, this.total);
      if (top < edge) return Math.floor(top / ROW) + 1;
      if (top > this.length - edge) return this.total - Math.floor((this.length - top) / ROW);
      return Math.floor(EDGE + ((top - edge) / (this.length - 2 * edge)) * (this.total - 2 * EDGE));
    }

    get view() {
      return this.body.clientHeight;
    }

    setTop(top) {
      this.body.scrollTop = top;
      this.lastTop = this.body.scrollTop;
    }

    scrolled() {
      const top = this.body.scrollTop;
      const moved = top - this.lastTop;
      if (Math.abs(moved) < 1) return;
      this.lastTop = top;
      if (Math.abs(moved) > 3 * this.view) this.place(top);
      this.target = 0;
      this.isFollowing = this.isLive && this.isAtEnd();
      this.draw();
      clearTimeout(this.idle);
      this.idle = setTimeout(() => this.sync(2 * this.view), 200);
    }

    /** Takes the place of the scrollbar as it is: after a jump, not after a small step. */
    place(top) {
      const most = this.body.scrollHeight - this.view;
      if (top >= most - 1) this.base = { line: this.total, top: top + this.view - this.height(this.total) };
      else if (top <= 0) this.base = { line: 1, top: 0 };
      else this.base = { line: this.lineAt(top), top };
    }

    isAtEnd() {
      return this.body.scrollTop + this.view >= this.body.scrollHeight - 2;
    }

    /** Moves scrollbar and rows together to where the scrollbar ought to be, if that is more than `slack` away. */
    sync(slack) {
      const want = this.ideal(this.base.line) - (this.base.top - this.body.scrollTop);
      const shift = clamp(want, 0, Math.max(0, this.length - this.view)) - this.body.scrollTop;
      if (Math.abs(shift) <= Math.max(slack, 1)) return;
      this.setTop(this.body.scrollTop + shift);
      this.base.top += this.body.scrollTop - (this.body.scrollTop - shift);
      const isOff = Math.abs(this.ideal(this.base.line) - this.base.top) > 1 && slack <= 1;
      if (isOff) this.base.top = this.ideal(this.base.line);
      this.drawNow();
    }

    resized() {
      if (this.classList.contains('wrapped')) this.forgetHeights();
      this.draw();
    }

    /** Rows are measured anew; what takes no room goes on taking none. */
    forgetHeights() {
      for (const [line, height] of [...this.heights]) if (height > 0) this.setHeight(line, ROW);
      for (const row of this.rows.values()) row.isMeasured = false;
    }

    // ---- Drawing

    draw() {
      if (this.frame || !this.isConnected) return;
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        this.drawNow();
      });
    }

    drawNow() {
      if (!this.records || !this.view) return;
      this.space.style.height = `${Math.max(this.length, 0)}px`;
      if (this.isFollowing) this.alignEnd();
      for (let i = 0; i < 3; i += 1) {
        if (!this.lay()) break;
        this.space.style.height = `${this.length}px`;
        if (this.isFollowing) this.alignEnd();
      }
      this.guardEnds();
      this.lookAhead();
      this.tell();
    }

    alignEnd() {
      this.setTop(this.length);
      const bottom = Math.max(this.length, 0);
      this.base = { line: Math.max(this.total, 1), top: bottom - this.height(this.total) };
    }

    /** The lines to draw with their places, from the base up and down. */
    window() {
      const [from, to] = [this.body.scrollTop - OVER, this.body.scrollTop + this.view + OVER];
      let { line, top } = this.base;
      line = clamp(line, 1, Math.max(this.total, 1));
      while (top > from && line > 1) {
        line -= 1;
        top -= this.height(line);
      }
      const lines = [];
      for (; line <= this.total && top < to; line += 1) {
        const height = this.height(line);
        if (height > 0 && top + height > from) lines.push({ line, top });
        top += height;
      }
      return lines;
    }

    /** Draws the window; true when a height turned out to be another one. */
    lay() {
      const lines = this.window();
      const wanted = new Set(lines.map(({ line }) => line));
      for (const [line, row] of this.rows) {
        if (wanted.has(line)) continue;
        row.el.remove();
        this.rows.delete(line);
      }
      let before = null;
      for (const { line, top } of lines) {
        const row = this.rowOf(line);
        const next = before ? before.nextSibling : this.space.firstChild;
        if (next !== row.el) this.space.insertBefore(row.el, next);
        row.el.style.top = `${top}px`;
        before = row.el;
      }
      this.rebase(lines);
      return this.measure(lines);
    }

    rebase(lines) {
      const { line, top } = this.base;
      if (top >= this.body.scrollTop && top < this.body.scrollTop + this.view && lines.some((at) => at.line === line)) return;
      const first = lines.find((at) => at.top >= this.body.scrollTop) ?? lines[0];
      if (first) this.base = { ...first };
    }

    measure(lines) {
      let isOther = false;
      const isWrapped = this.classList.contains('wrapped');
      for (const { line } of lines) {
        const row = this.rows.get(line);
        if (row.isMeasured) continue;
        row.isMeasured = true;
        const px = isWrapped || row.isTall ? Math.max(ROW, row.el.offsetHeight) : ROW;
        if (px === this.height(line)) continue;
        this.setHeight(line, px);
        isOther = true;
      }
      return isOther;
    }

    /** At the ends of the scrollbar there must be the ends of the log. */
    guardEnds() {
      const { scrollTop } = this.body;
      const isNear = scrollTop < this.view || scrollTop > this.length - 2 * this.view;
      if (isNear && !this.isFollowing && !this.isGuarding) {
        this.isGuarding = true;
        this.sync(1);
        this.isGuarding = false;
      }
    }

    lookAhead() {
      const lines = [...this.rows.keys()];
      if (lines.length === 0) return this.isEmpty ? undefined : this.need(1);
      const [first, last] = [Math.min(...lines), Math.max(...lines)];
      // Lines between that take no room are not asked for.
      for (const line of lines.sort((a, b) => a - b)) {
        const page = this.records.of(line);
        if (page) {
          page.used = this.records.turn += 1;
        } else {
          clearTimeout(this.asking);
          const isUp = this.records.of(last) !== undefined && line === first;
          const at = isUp ? this.lastMissing(first, last) : line;
          this.asking = setTimeout(() => this.need(at, isUp), this.records.all.length ? 40 : 0);
          return undefined;
        }
      }
      if (this.asked) return undefined;
      const [above, below] = [Math.max(1, first - AHEAD), Math.min(this.total, last + AHEAD)];
      if (!this.records.of(below)) this.need(this.firstMissing(last, below));
      else if (!this.records.of(above)) this.need(this.lastMissing(above, first), true);
      return undefined;
    }

    firstMissing(from, to) {
      for (let line = from; line <= to; line += 1) if (!this.records.of(line)) return line;
      return to;
    }

    lastMissing(from, to) {
      for (let line = to; line >= from; line -= 1) if (!this.records.of(line)) return line;
      return from;
    }

    tell() {
      const lines = this.total ? `${count.format(this.total)} ${this.total === 1 ? 'line' : 'lines'}` : 'No output yet';
      const text = [lines, this.bytes ? size(this.bytes) : '', this.isLive ? 'live' : ''].filter(Boolean).join(' · ');
      if (this.said.textContent !== text) this.said.textContent = text;
      this.end.hidden = this.isFollowing || this.isAtEnd();
    }

    say(text) {
      if (this.trouble.textContent !== text) this.trouble.textContent = text;
    }

    // ---- One row

    look(line, record) {
      const seqs = this.seqsOf(line);
      const [first, last] = [seqs[0], seqs.at(-1)];
      const isMarked = this.mark && last >= this.mark.from && first <= this.mark.to;
      const isHit = this.hits.text && seqs.some((seq) => this.hits.set?.has(seq));
      const isNow = isHit && seqs.includes(this.hits.lines[this.hits.at]);
      const call = this.lines.calls.get(line);
      const whole = this.lines.pieces.get(line);
      const flags = [`j${line}`, `f${whole?.head ?? line}`, `g${line}`].map((key) => this.shown.has(key));
      const pen = this.lines.penAt(line);
      return [Boolean(record), record?.stream, isMarked, isHit, isNow, this.times, this.start, this.hits.text, call?.to, whole?.chars, whole?.isWhole, pen ? JSON.stringify(pen) : '', ...flags].join('|');
    }

    /** The records that the row of a line stands for. */
    seqsOf(line) {
      const whole = this.lines.pieces.get(line);
      if (!whole) return [line];
      const isFolded = !this.shown.has(`f${whole.head}`) || this.lines.jsonOf(whole);
      return isFolded && whole.head === line ? whole.seqs : this.lines.rowOf(whole, line);
    }

    rowOf(line) {
      const record = this.records.record(line);
      const look = this.look(line, record);
      let row = this.rows.get(line);
      if (row?.look === look) return row;
      if (!row) this.rows.set(line, (row = { el: wakeful.make('div') }));
      const hadFocus = row.el.contains(document.activeElement) && document.activeElement.className;
      Object.assign(row, { look, isMeasured: false, isTall: false });
      this.fill(row, line, record, look.split('|'));
      if (hadFocus) row.el.querySelector(`.${hadFocus}`)?.focus({ preventScroll: true });
      return row;
    }

    fill(row, line, record, [, stream, isMarked, isHit, isNow]) {
      const { make } = wakeful;
      const on = (flag) => flag === 'true';
      row.el.className = ['log-line', stream === 'stdout' ? '' : stream, on(isMarked) && 'marked', on(isHit) && 'hit'].filter(Boolean).join(' ');
      row.el.dataset.line = line;
      const number = make('a', { className: 'log-no', href: `#L${line}`, textContent: line });
      const text = make('span', { className: 'log-text' });
      const parts = [number];
      if (this.times !== 'off') parts.push(make('span', { className: 'log-ts', textContent: record ? this.timeOf(record) : '' }));
      row.el.replaceChildren(...parts, text);
      if (record) text.append(...this.contentOf(row, line, record, on(isNow)));
      else text.textContent = this.records.of(line) ? '(not in the log)' : '…';
    }

    contentOf(row, line, record, isNow) {
      const whole = this.lines.pieces.get(line);
      const json = whole ? whole.head === line && this.lines.jsonOf(whole) : wakeful.logText.jsonOf(record);
      const said = json && summary(json);
      const nodes = [];
      const call = this.lines.calls.get(line);
      if (call) nodes.push(this.foldButton(`g${line}`, `${count.format(call.to - call.from + 1)} lines of one call`));
      if (!said) return [...nodes, ...this.textNodes(line, record, whole, isNow)];
      const isOpen = this.shown.has(`j${line}`);
      nodes.push(this.foldButton(`j${line}`, said[0]));
      if (!isOpen) return [...nodes, ...nodesOf(said[1], this.hits.pattern, isNow)];
      row.isTall = true;
      const pretty = JSON.stringify(json, null, 2).split('\n');
      return [...nodes, '\n', ...pretty.flatMap((part) => [...this.clipped(line, part, part.length, isNow), '\n']).slice(0, -1)];
    }

    textNodes(line, record, whole, isNow) {
      const before = this.lines.penAt(line);
      const text = whole ? this.lines.rowText(whole, line) : (before?.held ?? '') + textOf(record);
      return this.clipped(whole?.head ?? line, text, whole?.chars ?? text.length, isNow, before?.pen);
    }

    foldButton(key, label) {
      const isOpen = this.shown.has(key);
      const button = wakeful.make('button', { type: 'button', className: 'log-fold', textContent: `${isOpen ? '▾' : '▸'} ${plain(label)}`, ariaExpanded: String(isOpen) });
      button.dataset.fold = key;
      return button;
    }

    /** The nodes of a text; of a long one that is not unfolded, its beginning. */
    clipped(line, text, length, isNow, pen) {
      const isShown = length <= CLIP || this.shown.has(`f${line}`);
      const nodes = nodesOf(isShown ? text : text.slice(0, CLIP), this.hits.pattern, isNow, pen);
      if (isShown) return nodes;
      const button = wakeful.make('button', { type: 'button', className: 'log-fold', textContent: `▸ show all ${count.format(Math.ceil(length / 1_024))} KiB` });
      button.dataset.fold = `f${line}`;
      return [button, ...nodes, '…']; // at the end of a line nobody would see it
    }

    // ---- What the reader does

    clicked(event) {
      const number = event.target.closest('.log-no');
      const fold = event.target.closest('.log-fold');
      if (number && !event.ctrlKey && !event.metaKey) {
        event.preventDefault();
        this.markLine(Number(number.textContent), event.shiftKey);
      } else if (fold) {
        this.toggleFold(fold.dataset.fold);
      }
    }

    toggleFold(key) {
      if (!this.shown.delete(key)) this.shown.add(key);
      const line = Number(key.slice(1));
      const row = this.rows.get(line);
      this.isFollowing = false;
      if (row) this.base = { line, top: parseFloat(row.el.style.top) };
      const to = key[0] === 'g' ? this.lines.calls.get(line)?.to : this.lines.pieces.get(line)?.seqs.at(-1);
      if (to) this.settle(line, to);
      this.draw();
    }

    markLine(line, isRange) {
      const other = this.mark?.anchor ?? line;
      const anchor = isRange ? other : line;
      this.mark = { anchor, from: Math.min(anchor, line), to: Math.max(anchor, line) };
      const { from, to } = this.mark;
      history.replaceState(history.state, '', from === to ? `#L${from}` : `#L${from}-L${to}`);
      this.isFollowing = false;
      this.draw();
    }

    readHash() {
      const match = /^#L(\d+)(?:-L(\d+))?$/.exec(location.hash);
      if (!match) return false;
      const [a, b] = [Number(match[1]), Number(match[2] ?? match[1])];
      this.mark = { anchor: a, from: Math.min(a, b), to: Math.max(a, b) };
      this.jump(this.mark.from);
      return true;
    }

    jump(line) {
      const at = clamp(line, 1, Math.max(this.total, 1));
      this.isFollowing = false;
      this.target = at;
      this.reveal(at);
      this.space.style.height = `${this.length}px`;
      const place = this.ideal(at);
      const near = Math.min(this.view / 3, place);
      this.setTop(place - near);
      this.base = { line: at, top: place };
      this.draw();
    }

    toEnd() {
      this.isFollowing = this.isLive;
      this.alignEnd();
      this.draw();
    }

    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target === this.input) return;
      const acts = { Home: () => this.jump(1), End: () => this.toEnd() };
      if (this.hits.lines.length) Object.assign(acts, { n: () => this.step(1), N: () => this.step(-1) });
      if (!Object.hasOwn(acts, event.key)) return;
      event.preventDefault();
      acts[event.key]();
    }

    toggleWrap(button) {
      const isWrapped = this.classList.toggle('wrapped');
      button.ariaPressed = String(isWrapped);
      this.forgetHeights();
      this.draw();
    }

    async nextTimes() {
      const words = { off: 'relative', relative: 'absolute', absolute: 'off' };
      const names = { off: 'off', relative: 'since start', absolute: 'of day' };
      this.times = words[this.times];
      this.timesButton.textContent = `Times: ${names[this.times]}`;
      this.draw();
      if (this.start !== undefined) return;
      const page = await this.fetch({ line: 1 }, this.gone.signal, 1).catch(() => null);
      this.start = Date.parse(page?.records[0]?.ts);
      this.draw();
    }

    timeOf({ ts }) {
      const at = Date.parse(ts);
      if (Number.isNaN(at)) return '';
      if (this.times === 'absolute') return clock.format(at);
      const seconds = (at - (this.start ?? at)) / 1_000;
      const rest = (seconds % 60).toFixed(1).padStart(4, '0');
      return seconds < 60 ? `+${seconds.toFixed(1)}` : `+${Math.floor(seconds / 60)}:${rest}`;
    }

    /** Copies what is selected without numbers, times and buttons; whole lines as the agent wrote them. */
    copied(event) {
      const selection = getSelection();
      if (selection.isCollapsed) return;
      const part = selection.getRangeAt(0).cloneContents();
      const lines = [...part.querySelectorAll('.log-line')];
      if (lines.length === 0) return;
      part.querySelectorAll('.log-no, .log-ts, .log-fold').forEach((el) => el.remove());
      const texts = lines.map((el, i) => {
        const record = this.records.record(Number(el.dataset.line));
        const isInner = i > 0 && i < lines.length - 1;
        return isInner && record ? plain(this.lines.text(this.seqsOf(Number(el.dataset.line)))) : el.textContent;
      });
      event.clipboardData.setData('text/plain', texts.join('\n'));
      event.preventDefault();
    }

    // ---- Searching

    typed() {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.find(this.input.value), 250);
    }

    inputKey(event) {
      if (event.key === 'Enter') {
        event.preventDefault();
        if (this.input.value !== this.hits.text) this.find(this.input.value);
        else this.step(event.shiftKey ? -1 : 1);
      } else if (event.key === 'Escape') {
        event.preventDefault();
        this.input.value = '';
        this.find('');
        this.body.focus({ preventScroll: true });
      }
    }

    async find(text) {
      clearTimeout(this.typing);
      if (text === this.hits.text) return;
      const top = this.rows.size ? this.lineOnTop() : 1;
      this.hits = { text, lines: [], at: -1, count: 0, isWhole: true, set: new Set() };
      if (text) this.hits.pattern = new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'), 'gi');
      this.found.textContent = text ? 'Searching' : '';
      this.searching?.abort();
      this.draw();
      if (!text || !(await this.more(1))) return;
      const { lines } = this.hits;
      if (lines.length) this.show(Math.max(0, lines.findIndex((line) => line >= top)));
    }

    lineOnTop() {
      const seen = [...this.rows].filter(([, { el }]) => parseFloat(el.style.top) >= this.body.scrollTop).map(([line]) => line);
      return seen.length ? Math.min(...seen) : 1;
    }

    /** Asks for matches from a line on. False when there is no answer, or another search has begun. */
    async more(from) {
      const mine = this.hits;
      const { signal } = (this.searching = new AbortController());
      try {
        const url = new URL(this.dataset.find, location.origin);
        url.searchParams.set('q', mine.text);
        url.searchParams.set('from', from);
        const response = await fetch(url, { signal, headers: { Accept: 'application/json' } });
        if (!response.ok) throw new Error(String(response.status));
        const found = await response.json();
        if (mine !== this.hits) return false;
        if (from === 1) Object.assign(mine, { count: found.count, isWhole: found.is_whole });
        for (const line of found.lines) if (!mine.set.has(line)) mine.set.add(line), mine.lines.push(line);
        this.tellHits();
        this.draw();
        return found.lines.length > 0;
      } catch {
        if (!signal.aborted) this.found.textContent = 'Search failed';
        return false;
      }
    }

    tellHits() {
      const { at, count: all, isWhole } = this.hits;
      const matches = `${count.format(all)}${isWhole ? '' : '+'} ${all === 1 ? 'match' : 'matches'}`;
      this.found.textContent = at < 0 || all === 0 ? matches : `${count.format(at + 1)} of ${matches}`;
    }

    async step(by) {
      const { lines, at } = this.hits;
      if (lines.length === 0) return;
      const isPast = at + by >= lines.length;
      if (isPast && !(await this.more(lines.at(-1) + 1))) return this.show(0);
      this.show((at + by + lines.length) % lines.length);
    }

    show(index) {
      this.hits.at = index;
      this.tellHits();
      this.jump(this.hits.lines[index]);
    }
  }

  customElements.define('log-view', LogView);
})();
