// An error that a file, a device or a browser causes; its message is one line for the reader of the page.
export class InputError extends Error {}
