// Package account changes what an account is known by and how its owner proves who
// they are.
//
// Its invariant: what is attached to an account belongs to whoever has proven its
// address, and a changed or forgotten secret signs out everywhere else. What has to
// follow from a change (sign-outs, a notice by mail) is stored as a job before the
// change, so that a process that dies in between has not forgotten it; the job looks
// whether the change took place.
package account
