// forms.js — what forms do while they are filled in: words that go along to another kind of the same form, hints of the
// choice that is made, commands that say the same, times by the reader's clock.
// Nothing here knows a particular page: all is said by attributes.
(() => {
  'use strict';
  const wakeful = (window.wakeful ??= {});
  const CARRIED_KEY = 'wakeful-carried';

  const fieldsOf = (form) => [...form.elements].filter((el) => el.name && el.type !== 'hidden' && !/^(submit|button|reset|fieldset)$/.test(el.type));
  const isCheck = (el) => el.type === 'checkbox' || el.type === 'radio';
  const changed = (el) => el.dispatchEvent(new Event('input', { bubbles: true }));

  // ---- Another kind of the same form: what was typed goes along ----------------------------------------------------

  let carried = {}; // names and values that this kind has no field for

  const isTyped = (el) => {
    if (isCheck(el)) return el.checked !== el.defaultChecked;
    if (el.matches('select')) return [...el.options].some((option) => option.selected !== option.defaultSelected) && el.selectedIndex > 0;
    return el.value !== el.defaultValue;
  };

  document.addEventListener('click', (event) => {
    const link = event.target.closest?.('nav[data-carry] a');
    const form = link && document.querySelector('#page api-form > form.form');
    if (!form) return;
    const typed = fieldsOf(form).filter(isTyped);
    const values = { ...carried, ...Object.fromEntries(typed.map((el) => [el.name, isCheck(el) ? el.checked : el.value])) };
    sessionStorage.setItem(CARRIED_KEY, JSON.stringify({ path: location.pathname, values }));
  });

  function takeCarried() {
    const kept = sessionStorage.getItem(CARRIED_KEY);
    if (!kept) return;
    sessionStorage.removeItem(CARRIED_KEY);
    const { path, values } = JSON.parse(kept);
    const form = document.querySelector('#page api-form > form.form');
    if (path !== location.pathname || !form) return;
    for (const el of fieldsOf(form)) {
      if (!(el.name in values)) continue;
      if (isCheck(el)) el.checked = values[el.name];
      else el.value = values[el.name];
      delete values[el.name];
      for (let at = el.closest('details'); at; at = at.parentElement.closest('details')) at.open = true;
      changed(el);
    }
    carried = values;
  }

  // ---- Times: the server says an instant, the field shows it by the reader's clock ---------------------------------

  function fillTimes() {
    for (const input of document.querySelectorAll('input[data-at]:not([data-at=""])')) {
      const at = new Date(input.dataset.at);
      if (Number.isNaN(at.getTime()) || input.value) continue;
      const local = new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, -1);
      input.step = 'any'; // to the millisecond, so that what is not touched stays
      input.defaultValue = local.replace(/(:00)?\.000$/, '');
    }
  }

  // ---- Hints of a choice -------------------------------------------------------------------------------------------

  function showHints() {
    for (const hint of document.querySelectorAll('[data-hint-of]')) {
      const choice = hint.closest('form')?.elements[hint.dataset.hintOf];
      if (!choice) continue;
      for (const words of hint.querySelectorAll('[data-when]')) words.hidden = words.dataset.when !== choice.value;
    }
  }

  // ---- Commands ----------------------------------------------------------------------------------------------------

  const PLAIN = /^[\w./:=,@+%-]+$/;
  const quoted = (word) => (PLAIN.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);

  /** What a field says on a command line; empty if nothing. */
  function word(form, name) {
    const [field, unless] = name.split('!=');
    const el = form?.elements[field];
    const text = el?.value?.trim() ?? '';
    if (text === '' || text === unless) return '';
    return quoted(el.type === 'datetime-local' ? new Date(text).toISOString() : text);
  }

  /** `add {name}[ --title {title}]`: brackets are left out where nothing is said. */
  function command(template, form) {
    const optional = template.replace(/\[([^\]]*\{([\w.!=]+)\}[^\]]*)\]/g, (_, part, name) => (word(form, name) ? part : ''));
    return optional.replace(/\{([\w.!=]+)\}/g, (_, name) => word(form, name) || name.split('.').pop().toUpperCase());
  }

  function showCommands() {
    for (const code of document.querySelectorAll('code[data-command]')) {
      const form = code.closest('form') ?? document.querySelector('#page api-form > form.form');
      const text = command(code.dataset.command, form);
      if (code.textContent !== text) code.textContent = text;
      const copy = code.parentElement.querySelector('copy-text');
      if (copy) copy.dataset.text = text;
    }
  }

  function showAll() {
    showHints();
    showCommands();
  }

  document.addEventListener('input', (event) => event.target.form && showAll());
  document.addEventListener('change', (event) => event.target.form && showAll());
  document.addEventListener('wakeful:refreshed', showAll);

  fillTimes();
  takeCarried();
  showAll();
  document.getElementById(location.hash.slice(1))?.closest('[data-focus]')?.querySelector('textarea, input')?.focus();
})();
