// Package outbox keeps what has to happen after an answer was given: a mail to
// be sent, a sign-out to be finished.
//
// Its invariant: a job that was acknowledged by [Outbox.Add] is handled at least
// once before it expires, whatever process dies, and never by two workers at the
// same time.
//
// A job is one record, in one of sixteen groups ordered by due time. It is born
// leased to its maker, who answers the request first and then hands the job to
// its own pool with [Outbox.Dispatch]. If the maker dies, the lease runs out and
// any process's scanner finds the job: it lists each group until now, takes a
// lease by a versioned Put, handles the job and deletes it. Losing that Put means
// that somebody else has the job. Nothing else coordinates the processes.
//
// A process that dies between handling a job and deleting it causes the job to be
// handled once more. Handlers are therefore repeatable: a mail is sent again with
// the same Message-ID, and a sign-out ends what is left.
//
// Rows hold ids and parameters, never a secret: handlers derive what must not be
// stored. Log lines name a job by kind and id and quote nothing else of it.
package outbox
