package verification

import (
	"context"

	"github.com/lettergate/lettergate/provider/internal/secrets"
)

// LinkPath is the page that a link in a mail leads to, below the issuer.
const LinkPath = "/login/link"

// A Link is what the page behind a link in a mail has to know. The link shows its
// code to the browser that opens it, which need not be the one that asked: only the
// latter has the verification_id, without which the code is good for nothing.
type Link struct {
	Email      string // as typed
	ClientID   string
	ClientName string
	Locale     string
	Target     string // where the browser goes on to
	Code       string
	Spent      bool // the code was used
}

func linkHandle(ring *secrets.Ring, id string) string {
	raw, _ := secrets.ParseID(id)
	return ring.Handle(linkPurpose, raw)
}

// OpenLink returns what the link that was mailed as handle stands for, or
// ErrNotFound. Opening changes nothing, as often as it is done: mail filters do it
// before the person does.
func (s *Service) OpenLink(ctx context.Context, handle string) (Link, error) {
	id, ok := s.openHandle(linkPurpose, handle)
	if !ok {
		return Link{}, ErrNotFound
	}
	_, v, ok, err := read(ctx, s.deps.Store, id, s.cfg.Now())
	if err != nil {
		return Link{}, err
	}
	if !ok || v.Link == "" {
		return Link{}, ErrNotFound
	}
	code, err := s.code(v, id)
	if err != nil {
		return Link{}, ErrNotFound
	}
	return Link{
		Email: v.Email, ClientID: v.Client, ClientName: v.ClientName, Locale: v.Locale,
		Target: v.Link, Code: code, Spent: v.State != pending,
	}, nil
}
