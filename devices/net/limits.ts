/**
 * What an interface name may be, for whoever checks one without opening it.
 */

/** Longest interface name in bytes, without its NUL (IFNAMSIZ − 1). */
export const INTERFACE_NAME_MAXIMUM = 15;
