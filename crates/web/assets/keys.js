// keys.js — the keyboard: single keys, sequences (g i), rows of lists, the palette (Ctrl-K) and the list of keys (?).
// Keys press what is on the page ([data-key], links, forms); they can do nothing that a click cannot.
// What is picked or current in a list is kept by the rows' ids, so that it survives a refresh.
(() => {
  'use strict';
  const wakeful = (window.wakeful ??= {});
  const SEQUENCE_MS = 1_000;
  const DEBOUNCE_MS = 120;
  const LANES = 4; // forms of a bulk action sent at a time

  const PAGES = {
    i: 'inbox', n: 'now', r: 'runs', w: 'wakes', s: 'schedules', t: 'timeline', a: 'agents', k: 'tasks',
    m: 'mail', c: 'costs', o: 'notifications', ',': 'settings', h: 'health',
  };
  const HELP = [
    ['Anywhere', [['?', 'this list'], ['Ctrl K', 'search and commands'], ['/', 'search on the page'], ['n', 'show what is new'], ['p', 'pause or go on with updates'], ['t', 'theme: system, light, dark'], ['Esc', 'close, clear the selection']]],
    ['Go to', Object.entries(PAGES).map(([key, page]) => [`g ${key}`, page])],
    ['Lists', [['j', 'next row'], ['k', 'row before'], ['Enter', 'open']]],
  ];
  // Shown where they do something.
  const HELP_PICKING = [['x', 'select the row'], ['Shift x', 'select up to here']];
  const HELP_LOG = [
    ['Log', [['Home', 'first line'], ['End', 'last line, and follow'], ['n', 'next match'], ['N', 'match before'], ['Shift click', 'on a line number: a range']]],
  ];

  const isVisible = (el) => el.checkVisibility?.() ?? el.offsetParent !== null;
  const company = () => document.body.dataset.company ?? '';
  const companyPath = (rest) => `/c/${encodeURIComponent(company())}/${rest}`;
  const isLocal = (href) => /^\/(?!\/)/.test(href ?? '');
  const go = (href) => isLocal(href) && location.assign(href);

  function goTo(page) {
    const links = [...document.querySelectorAll('#side a[href]')];
    const link = links.find((a) => a.pathname.split('/').filter(Boolean).pop() === page);
    if (link) location.assign(link.href);
    else if (company()) go(companyPath(page));
  }

  // ---- Lists: the current row, the picked rows ---------------------------------------------------------------------

  const list = { at: '', picked: new Set(), anchor: '' };
  const keyOf = (row) => wakeful.keyOf?.(row) ?? row.id;
  const rows = () => [...document.querySelectorAll('#page [data-row]')].filter(isVisible);
  const current = () => rows().find((row) => list.at && keyOf(row) === list.at);
  const pickedRows = () => rows().filter((row) => list.picked.has(keyOf(row)));

  function paint() {
    for (const row of document.querySelectorAll('#page [data-row]')) {
      const isAt = list.at !== '' && keyOf(row) === list.at;
      row.classList.toggle('at', isAt);
      row.classList.toggle('picked', list.picked.has(keyOf(row)));
      if (isAt) row.setAttribute('aria-selected', 'true');
      else row.removeAttribute('aria-selected');
    }
    paintBar();
  }

  function move(step) {
    const all = rows();
    if (all.length === 0) return false;
    const from = all.indexOf(current());
    const row = all[from < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, from + step))];
    list.at = keyOf(row);
    row.tabIndex = -1;
    row.focus({ preventScroll: true });
    row.scrollIntoView({ block: 'nearest' });
    paint();
    return true;
  }

  /** Only where something can be done with many rows at once. */
  const isPickable = (row) => Boolean((row.closest('[data-list]') ?? row).querySelector('[data-bulk]'));

  function pick(isRange) {
    const row = current();
    if (!row) return false;
    if (!isPickable(row)) return wakeful.toast('Nothing in this list can be done with many rows at once'), true;
    const all = rows();
    const from = all.findIndex((other) => keyOf(other) === list.anchor);
    const to = all.indexOf(row);
    if (isRange && from >= 0) {
      for (const other of all.slice(Math.min(from, to), Math.max(from, to) + 1)) list.picked.add(keyOf(other));
    } else {
      if (!list.picked.delete(keyOf(row))) list.picked.add(keyOf(row));
      list.anchor = keyOf(row);
    }
    paint();
    return true;
  }

  function clear() {
    if (!list.at && list.picked.size === 0) return false;
    if (list.picked.size) {
      list.picked.clear();
    } else {
      list.at = '';
      if (document.activeElement?.matches('[data-row]')) document.activeElement.blur();
    }
    paint();
    return true;
  }

  // ---- Bulk actions ------------------------------------------------------------------------------------------------

  const bulkButtons = (row) =>
    [...row.querySelectorAll('[data-bulk]')].flatMap((el) => (el.matches('button') ? [el] : [...el.querySelectorAll('button')]));
  const labelOf = (button) => button.dataset.bulk || button.closest('[data-bulk]').dataset.bulk || button.ariaLabel || button.textContent.trim();

  function bulkActions() {
    const actions = new Map();
    for (const button of pickedRows().flatMap(bulkButtons)) {
      actions.set(labelOf(button), [...(actions.get(labelOf(button)) ?? []), button]);
    }
    return actions;
  }

  function paintBar() {
    let bar = document.querySelector('.notice.picked');
    const count = pickedRows().length;
    if (count === 0) return bar?.remove();
    if (!bar) {
      bar = wakeful.make('div', { className: 'notice picked' });
      bar.setAttribute('role', 'region');
      bar.setAttribute('aria-label', 'Selected rows');
      document.body.append(bar);
    }
    const button = (text, act) => {
      const el = wakeful.make('button', { type: 'button', className: 'button', textContent: text });
      el.addEventListener('click', act);
      return el;
    };
    const said = wakeful.make('span', { textContent: `${count} selected` });
    said.setAttribute('role', 'status');
    const actions = [...bulkActions()].map(([label, found]) => button(found.length === count ? label : `${label} (${found.length})`, () => runBulk(label)));
    bar.replaceChildren(said, ...actions, button('Clear', () => clear()));
    return undefined;
  }

  async function runBulk(label) {
    const buttons = bulkActions().get(label) ?? [];
    const isDanger = buttons.some((button) => button.classList.contains('danger'));
    const what = `${label}: ${buttons.length} ${buttons.length === 1 ? 'row' : 'rows'}?`;
    if (!buttons.length || !(await wakeful.confirm(what, label, isDanger))) return;
    const problems = [];
    // Two rows may be about the same: it is done once.
    const total = buttons.length;
    const forms = new Set();
    const todo = buttons.filter(({ form }) => !forms.has(form.action) && forms.add(form.action));
    const lane = async () => {
      for (let button = todo.pop(); button; button = todo.pop()) {
        const outcome = await wakeful.send(button.form, button);
        if (!outcome.isDone) problems.push(outcome.problem.detail);
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
    list.picked.clear();
    paint();
    const failed = problems.length ? `, ${problems.length} failed: ${problems[0]}` : '';
    wakeful.toast(`${label}: ${total - problems.length} done${failed}`, problems.length > 0);
    wakeful.refresh?.({ isForced: true });
  }

  // ---- What single keys press --------------------------------------------------------------------------------------

  /** The element for a key: in the current row, else on the page outside of rows. */
  function keyed(key) {
    const selector = `[data-key="${CSS.escape(key)}"]`;
    const inRow = [...(current()?.querySelectorAll(selector) ?? [])].find(isVisible);
    return inRow ?? [...document.querySelectorAll(`main ${selector}`)].find((el) => !el.closest('[data-row]') && isVisible(el));
  }

  function press(key) {
    const bulk = [...bulkActions()].find(([, buttons]) => buttons[0].dataset.key === key);
    if (bulk) return runBulk(bulk[0]), true;
    const el = keyed(key);
    if (!el) return false;
    for (let at = el.closest('details'); at; at = at.parentElement.closest('details')) at.open = true;
    if (el.matches('input, textarea, select')) el.focus();
    else el.click();
    return true;
  }

  function search() {
    const input = [...document.querySelectorAll('[data-search]')].find(isVisible);
    input?.focus();
    input?.select();
    return Boolean(input);
  }

  function escape() {
    if (wakeful.closeDrawer?.()) return true;
    const active = document.activeElement;
    if (isTyping(active)) return active.blur(), true;
    return clear();
  }

  function openCurrent() {
    const row = current();
    const active = document.activeElement;
    if (!row?.dataset.href || (active !== row && active !== document.body)) return false;
    go(row.dataset.href);
    return true;
  }

  const SINGLE = {
    '?': () => (openHelp(), true),
    '/': search,
    j: () => move(1),
    k: () => move(-1),
    x: () => pick(false),
    X: () => pick(true),
    n: () => wakeful.showNew?.(),
    p: () => (wakeful.togglePause?.(), true),
    t: () => (wakeful.nextTheme?.(), true),
    Enter: openCurrent,
    Escape: escape,
  };

  // ---- Listening ---------------------------------------------------------------------------------------------------

  const isTyping = (el) =>
    el?.matches('textarea, select, [contenteditable=""], [contenteditable=true]') ||
    (el?.matches('input') && !/^(checkbox|radio|button|submit|reset|range|color)$/.test(el.type));

  let goAt = -Infinity;

  document.addEventListener('keydown', (event) => {
    const { key } = event;
    if (event.defaultPrevented || event.isComposing) return;
    const isPalette = (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey && key.toLowerCase() === 'k';
    if (isPalette) {
      event.preventDefault();
      return togglePalette();
    }
    // A dialog closes by Esc of itself.
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
    if (isTyping(event.target) && key !== 'Escape') return;
    if (event.repeat && !'jk'.includes(key)) return;
    if (act(key)) event.preventDefault();
  });

  function act(key) {
    const isSecond = performance.now() - goAt < SEQUENCE_MS;
    goAt = -Infinity;
    if (isSecond && PAGES[key]) return goTo(PAGES[key]), true;
    if (key === 'g') {
      goAt = performance.now();
      return true;
    }
    if (Object.hasOwn(SINGLE, key)) return SINGLE[key]();
    return key.length === 1 && /[a-zA-Z.[\]]/.test(key) && press(key);
  }

  document.addEventListener('click', (event) => {
    const opener = event.target.closest?.('[data-open]');
    if (opener?.dataset.open === 'palette') openPalette();
    if (opener?.dataset.open === 'keys') openHelp();
  });

  // A click on a row opens it, where nothing else takes the click.
  for (const kind of ['click', 'auxclick']) {
    document.addEventListener(kind, (event) => {
      const row = event.target.closest?.('[data-row][data-href]');
      const isOther = event.target.closest?.('a, button, input, select, textarea, label, summary, copy-text, form');
      if (!row || isOther || event.defaultPrevented || event.button > 1 || !getSelection().isCollapsed) return;
      const isNewTab = event.ctrlKey || event.metaKey || event.button === 1;
      if (!isNewTab) go(row.dataset.href);
      else if (isLocal(row.dataset.href)) open(row.dataset.href, '_blank', 'noopener');
    });
  }

  document.addEventListener('wakeful:refreshed', paint);

  // ---- The list of keys --------------------------------------------------------------------------------------------

  /** The keys of what is on the page, named as it is named there. */
  function keysHere() {
    const named = new Map();
    for (const el of document.querySelectorAll('main [data-key]')) {
      const words = named.get(el.dataset.key) ?? new Set();
      const label = (el.ariaLabel || el.textContent || '').replace(/\s*\([^)]*\)$/, '').trim() || el.labels?.[0]?.textContent.trim();
      if (label && !el.disabled) named.set(el.dataset.key, words.add(label));
    }
    const lines = [...named].map(([key, words]) => [key, [...words].join(' · ')]).sort();
    if (document.querySelector('main [data-list] [data-bulk]')) lines.push(...HELP_PICKING);
    return lines.length ? [['On this page', lines]] : [];
  }

  function openHelp() {
    const { make } = wakeful;
    const line = ([keys, does]) => make('div', {}, make('dt', {}, ...keys.split(' ').map((key) => make('kbd', { textContent: key }))), make('dd', { textContent: does }));
    const log = document.querySelector('log-view') ? HELP_LOG : [];
    const groups = [...HELP, ...keysHere(), ...log].flatMap(([title, lines]) => [make('h3', { textContent: title }), make('dl', {}, ...lines.map(line))]);
    const close = make('button', { type: 'button', className: 'button', textContent: 'Close' });
    const title = make('h2', { textContent: 'Keyboard', tabIndex: -1, autofocus: true }); // the top is seen first
    title.style.outline = 'none';
    const { dialog } = wakeful.dialog('keys', 'Keyboard', title, ...groups, make('div', { className: 'form-actions' }, close));
    close.addEventListener('click', () => dialog.close());
  }

  // ---- The palette -------------------------------------------------------------------------------------------------

  /** Where the page of a thing is that the search finds. */
  const PAGE_OF = { agent: 'agents', task: 'tasks', schedule: 'schedules', run: 'runs', wakeup: 'wakes' };
  let palette = null;

  const togglePalette = () => (palette ? palette.dialog.close() : openPalette());

  function ownEntries() {
    const entries = [];
    const add = (kind, title, act, sub = '') => title && entries.push({ kind, title, act, sub });
    for (const el of document.querySelectorAll('#page [data-action-key], #page .actions .button')) {
      if (isVisible(el) && !el.disabled && !el.closest('[data-row], .empty')) add('action', el.ariaLabel || el.textContent.trim(), () => el.click());
    }
    for (const a of document.querySelectorAll('#side a[href]')) {
      add('page', (a.querySelector('span') ?? a).textContent.trim(), () => location.assign(a.href));
    }
    if (company() && document.body.dataset.role !== 'viewer') {
      for (const thing of ['agent', 'task', 'schedule']) add('new', `New ${thing}`, () => go(companyPath(`${thing}s/new`)));
    }
    add('command', 'Theme: next', () => wakeful.nextTheme());
    add('command', 'Pause or go on with updates', () => wakeful.togglePause());
    add('command', 'Keyboard', openHelp);
    return entries;
  }

  function matching(entries, text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    const rank = ({ title }) => (title.toLowerCase().startsWith(words[0] ?? '') ? 0 : 1);
    const found = entries.filter((entry) => words.every((word) => `${entry.title} ${entry.kind}`.toLowerCase().includes(word)));
    return found.sort((a, b) => rank(a) - rank(b));
  }

  function openPalette() {
    if (palette || document.querySelector('dialog[open]')) return;
    const { make } = wakeful;
    const input = make('input', { type: 'text', placeholder: 'Search or type a command', autocomplete: 'off', spellcheck: false, autofocus: true });
    const options = { role: 'combobox', 'aria-expanded': 'true', 'aria-controls': 'palette-list', 'aria-autocomplete': 'list', 'aria-label': 'Search and commands' };
    for (const [name, value] of Object.entries(options)) input.setAttribute(name, value);
    const box = make('ul', { id: 'palette-list', ariaLabel: 'Results' });
    box.setAttribute('role', 'listbox');
    const note = make('p', {});
    note.setAttribute('role', 'status');
    const own = ownEntries();
    const { dialog, closed } = wakeful.dialog('palette', 'Search and commands', input, box, note);
    palette = { dialog, input, box, note, own, found: [], shown: [], at: 0, asked: null, timer: 0 };
    input.addEventListener('input', onType);
    input.addEventListener('keydown', onPaletteKey);
    box.addEventListener('click', (event) => choose([...box.children].indexOf(event.target.closest('li'))));
    box.addEventListener('pointermove', (event) => {
      const index = [...box.children].indexOf(event.target.closest('li'));
      if (index >= 0 && index !== palette.at) mark(index);
    });
    closed.then(() => {
      clearTimeout(palette.timer);
      palette.asked?.abort();
      const { act } = palette;
      palette = null;
      act?.();
    });
    draw();
  }

  function onType() {
    const text = palette.input.value.trim();
    clearTimeout(palette.timer);
    palette.asked?.abort();
    palette.at = 0;
    if (!text) palette.found = [];
    else palette.timer = setTimeout(() => ask(text), DEBOUNCE_MS);
    draw();
  }

  async function ask(text) {
    const mine = palette;
    const asked = (mine.asked = new AbortController());
    if (!company()) return;
    try {
      const address = `/api/v1/companies/${company()}/search?q=${encodeURIComponent(text)}`;
      const response = await fetch(address, { headers: { Accept: 'application/json' }, signal: asked.signal });
      if (!response.ok) throw new Error(`the server answered ${response.status}`);
      const { items } = await response.json();
      const shown = items.filter(({ kind }) => PAGE_OF[kind]);
      mine.found = shown.map(({ kind, id, name, detail }) => ({ title: name, sub: detail, kind, act: () => go(`${companyPath(PAGE_OF[kind])}/${id}`) }));
      mine.failure = '';
    } catch (error) {
      if (asked.signal.aborted) return;
      mine.found = [];
      mine.failure = `Search failed: ${error instanceof TypeError ? 'cannot reach the server' : error.message}`;
    }
    if (mine === palette) draw();
  }

  function draw() {
    const { make } = wakeful;
    const { input, box, note, own, found } = palette;
    palette.shown = [...matching(own, input.value.trim()), ...found];
    box.replaceChildren(
      ...palette.shown.map(({ title, sub, kind }, i) => {
        const item = make('li', { id: `palette-${i}` }, make('span', { textContent: title }));
        if (sub) item.append(make('span', { className: 'sub', textContent: sub }));
        item.append(make('span', { className: 'kind', textContent: kind ?? '' }));
        item.setAttribute('role', 'option');
        return item;
      }),
    );
    note.textContent = palette.failure || (palette.shown.length ? `${palette.shown.length} ${palette.shown.length === 1 ? 'result' : 'results'}` : 'Nothing found');
    mark(Math.min(palette.at, palette.shown.length - 1));
  }

  function mark(index) {
    palette.at = Math.max(0, index);
    [...palette.box.children].forEach((item, i) => item.setAttribute('aria-selected', String(i === palette.at)));
    const item = palette.box.children[palette.at];
    item?.scrollIntoView({ block: 'nearest' });
    if (item) palette.input.setAttribute('aria-activedescendant', item.id);
    else palette.input.removeAttribute('aria-activedescendant');
  }

  function onPaletteKey(event) {
    const count = palette.shown.length;
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 };
    if (event.isComposing) return;
    if (event.key in steps && count) {
      const to = palette.at + steps[event.key];
      mark(Math.abs(steps[event.key]) === 1 ? (to + count) % count : Math.min(count - 1, Math.max(0, to)));
    } else if (event.key === 'Enter') {
      choose(palette.at);
    } else {
      return;
    }
    event.preventDefault();
  }

  /** The dialog closes first, so that what is done can open one of its own. */
  function choose(index) {
    const entry = palette.shown[index];
    if (!entry) return;
    palette.act = entry.act;
    palette.dialog.close();
  }
})();
