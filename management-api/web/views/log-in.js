// The log-in page. It has no address: whoever is not logged in sees it in the place of any view, and then that view.

import { h } from '../core/dom.js';
import { logIn } from '../core/user.js';
import { form } from '../components/form.js';
import { notice } from '../components/notice.js';

/** The form; `done()` is called when somebody is in. */
export function logInForm({ reason, done }) {
  const made = form({
    label: 'Log in',
    fields: [
      { name: 'user', label: 'User', required: true, autocomplete: 'username', wide: true },
      { name: 'password', label: 'Password', type: 'password', required: true, autocomplete: 'current-password', wide: true },
    ],
    submitLabel: 'Log in',
    submit: async ({ user, password }) => {
      try {
        await logIn(user, password);
      } catch (error) {
        made.inputs.password.select();
        throw error.error === 'not_authorized' ? new Error('The user or the password is wrong, or there were too many attempts.') : error;
      }
      await done();
    },
  });
  return h('main.log-in', { id: 'main' },
    h('div.log-in-card',
      h('div.log-in-brand', h('img', { src: '/icon.svg', alt: '', width: 48, height: 48 }), h('h1', 'Leveret')),
      reason && notice('info', reason),
      made.element));
}
