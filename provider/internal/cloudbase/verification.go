package cloudbase

import (
	"errors"
	"slices"
	"strings"

	"github.com/lettergate/lettergate/provider/internal/password"
	"github.com/lettergate/lettergate/provider/internal/verification"
	"github.com/lettergate/lettergate/provider/mail"
	"github.com/lettergate/lettergate/provider/users"
)

type startRequest struct {
	Email      text `json:"email"`
	Phone      text `json:"phone_number"`
	Target     text `json:"target"`
	RedirectTo text `json:"email_redirect_to"`
}

type startResponse struct {
	ID        string `json:"verification_id"`
	ExpiresIn int64  `json:"expires_in"` // seconds
	IsUser    bool   `json:"is_user"`
}

// startVerification is POST verification: a code is mailed.
func (a *API) startVerification(c *call, req startRequest) (startResponse, error) {
	address, err := emailOf(req.Email, req.Phone)
	if err != nil {
		return startResponse{}, err
	}
	link, err := linkTarget(c, req.RedirectTo.value)
	if err != nil {
		return startResponse{}, err
	}
	// Asked for every address, so that it costs what it costs whoever has one.
	_, err = a.Users.ByEmail(c.Context(), address.Identity())
	exists := err == nil
	if err != nil && !errors.Is(err, users.ErrNotFound) {
		return startResponse{}, err
	}
	if err := checkTarget(c, req.Target.value, address, exists); err != nil {
		return startResponse{}, err
	}
	started, ticket, err := a.Verifications.Start(c.Context(), verification.Request{
		ClientID: c.client.ID, ClientName: c.client.DisplayName(), Email: address, Purpose: verification.Ownership,
		DeviceID: c.device, Requester: c.user.Subject, Link: link, Once: c.once, Locale: c.lang,
		Source: a.Inbound.Source(c.Request),
	})
	if errors.Is(err, verification.ErrTooMany) {
		return startResponse{}, errTooMany(verification.SourceWindow).because(err)
	}
	if err != nil {
		return startResponse{}, err
	}
	c.after = func() { a.Outbox.Dispatch(ticket) }
	return startResponse{ID: started.Handle, ExpiresIn: seconds(started.ExpiresIn), IsUser: exists && !c.hidden}, nil
}

// emailOf reads the address of a body.
func emailOf(email, phone text) (mail.Address, error) {
	switch {
	case email.value == "" && phone.value != "":
		return mail.Address{}, invalid("api.email_only")
	case email.value == "":
		return mail.Address{}, errMissing("email")
	}
	address, err := mail.ParseAddress(email.value)
	if err != nil {
		return mail.Address{}, invalid("api.email_rule").because(err)
	}
	return address, nil
}

// checkTarget refuses a verification for which the app wants, or does not want, an
// account to be there. Where nobody is to learn which addresses have one, the wish
// is heard and nothing is said.
func checkTarget(c *call, target string, address mail.Address, exists bool) error {
	switch strings.ToUpper(target) {
	case "", "ANY":
		return nil
	case "USER":
		if exists || c.hidden {
			return nil
		}
		return precondition("api.user_not_found")
	case "NOT_USER":
		if !exists || c.hidden {
			return nil
		}
		return precondition("api.user_exists")
	case "CUR_USER":
		if c.signed && address.Identity() == c.user.EmailKey {
			return nil
		}
		return precondition("api.own_address")
	}
	return invalid("api.target")
}

// linkTarget checks where a link in the mail is to lead: to a page that is registered,
// letter by letter. The code goes there, so a page that leads on to anywhere would
// hand it to anybody.
func linkTarget(c *call, target string) (string, error) {
	if target == "" || slices.Contains(c.client.RedirectURIs, target) {
		return target, nil
	}
	return "", invalid("api.redirect")
}

type verifyRequest struct {
	ID   text `json:"verification_id"`
	Code text `json:"verification_code"`
}

type verifyResponse struct {
	Token     string `json:"verification_token"`
	ExpiresIn int64  `json:"expires_in"` // seconds
}

// verify is POST verification/verify: the code becomes a token. Apps keep codes in
// numbers, which lose their leading zeros; of some calls the SDK then makes a string.
func (a *API) verify(c *call, req verifyRequest) (verifyResponse, error) {
	switch {
	case req.ID.value == "":
		return verifyResponse{}, errMissing("verification_id")
	case req.Code.value == "":
		return verifyResponse{}, errMissing("verification_code")
	}
	token, err := a.Verifications.Prove(c.Context(), verification.Try{
		Handle: req.ID.value, ClientID: c.client.ID, Code: req.Code.value, PadZeros: true,
		DeviceID: c.device, Once: c.once, Source: a.Inbound.Source(c.Request),
	})
	if errors.Is(err, verification.ErrInvalid) {
		return verifyResponse{}, errCode().because(err)
	}
	if err != nil {
		return verifyResponse{}, err
	}
	return verifyResponse{token.Value, seconds(token.ExpiresIn)}, nil
}

// mailbox returns what a verification_token of the caller's proves.
func (a *API) mailbox(c *call, token text) (verification.Mailbox, error) {
	if token.value == "" {
		return verification.Mailbox{}, errMissing("verification_token")
	}
	box, err := a.Verifications.OpenToken(c.Context(), token.value, c.client.ID, c.once)
	if errors.Is(err, verification.ErrInvalid) {
		return box, errToken().because(err)
	}
	return box, err
}

// spend spends what the token proves. What is done after it cannot be done twice with
// the same one.
func (a *API) spend(c *call, box verification.Mailbox) error {
	err := a.Verifications.SpendToken(c.Context(), box)
	if errors.Is(err, verification.ErrInvalid) {
		return errToken().because(err)
	}
	return err
}

// proves refuses a call about another address than the one that was proven. A call
// need not name one.
func proves(box verification.Mailbox, email, phone text) error {
	if email.value == "" && phone.value == "" {
		return nil
	}
	address, err := emailOf(email, phone)
	if err != nil {
		return err
	}
	if address.Identity() != box.Identity {
		return errTokenOf()
	}
	return nil
}

// askedBy reports whether nobody else has asked for the proof, being signed in.
func askedBy(box verification.Mailbox, u users.User) bool {
	return box.Requester == "" || box.Requester == u.Subject
}

// outdated reports whether the proof is from before the password was last chosen: who
// chooses a new one shuts out whoever knew the old secrets.
func outdated(box verification.Mailbox, state password.State) bool {
	return state.IsSet() && !box.Spent && box.At.Before(state.At)
}

// errTokenOf is a token that proves another mailbox than the one the call is about.
func errTokenOf() error {
	return errToken().because(errors.New("the token proves another address"))
}
