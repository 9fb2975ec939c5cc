package cloudbase

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/lettergate/lettergate/provider/internal/password"
	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/internal/verification"
	"github.com/lettergate/lettergate/provider/users"
)

const (
	sudoPurpose   secrets.Purpose = "cloudbase sudo"
	changePurpose secrets.Purpose = "cloudbase password change"

	sudoLife = 10 * time.Minute
)

// A sudo says that a signed-in person has just shown once more who they are. It is
// sealed and stored nowhere, and good in the sign-in it was made in only.
type sudo struct {
	Subject string `json:"sub"`
	Expires int64  `json:"exp"` // unix seconds
}

type sudoRequest struct {
	Password text `json:"password"`
	Token    text `json:"verification_token"`
}

type sudoResponse struct {
	Token     string `json:"sudo_token"`
	ExpiresIn int64  `json:"expires_in"` // seconds
}

// sudo is POST user/sudo: the password, or the proof of the account's own mailbox,
// becomes a sudo_token.
func (a *API) sudo(c *call, req sudoRequest) (sudoResponse, error) {
	var err error
	switch {
	case req.Token.value != "":
		err = a.confirmMailbox(c, req.Token)
	case req.Password.value != "":
		err = a.confirmPassword(c, req.Password.value)
	default:
		err = errMissing("password")
	}
	if err != nil {
		return sudoResponse{}, err
	}
	state, err := a.Passwords.State(c.Context(), c.user.Subject)
	if err != nil {
		return sudoResponse{}, err
	}
	plain, err := json.Marshal(sudo{c.user.Subject, a.Now().Add(sudoLife).Unix()})
	if err != nil {
		return sudoResponse{}, err
	}
	return sudoResponse{a.Secrets.SealString(sudoPurpose, plain, c.sudoContext(state)), seconds(sudoLife)}, nil
}

// sudoContext binds a sudo_token to the sign-in and to the password that there is: a
// new one ends what was confirmed before it.
func (c *call) sudoContext(state password.State) []byte {
	return []byte(c.claims.GrantID + "\x00" + state.String())
}

func (a *API) confirmPassword(c *call, value string) error {
	_, err := a.Passwords.Verify(c.Context(), password.Try{
		Subject: c.user.Subject, Identity: c.user.EmailKey, Password: value, DeviceID: c.device, Source: a.Inbound.Source(c.Request),
	})
	switch {
	case errors.Is(err, password.ErrWrong):
		return errCredentials().because(err)
	case errors.Is(err, password.ErrNotSet):
		return errPasswordNotSet()
	}
	return err
}

func (a *API) confirmMailbox(c *call, token text) error {
	box, err := a.mailbox(c, token)
	if err != nil {
		return err
	}
	if box.Identity != c.user.EmailKey || !askedBy(box, c.user) {
		return errTokenOf()
	}
	state, err := a.Passwords.State(c.Context(), c.user.Subject)
	if err != nil {
		return err
	}
	if outdated(box, state) {
		return errToken()
	}
	return a.spend(c, box)
}

// confirmed is checkSudo for the password that there is now.
func (a *API) confirmed(c *call, token sudoToken) error {
	state, err := a.Passwords.State(c.Context(), c.user.Subject)
	if err != nil {
		return err
	}
	return a.checkSudo(c, token, state)
}

// checkSudo refuses whoever has not just confirmed who they are. The token may be in
// the body or, as the documentation of the HTTP API has it, in the query.
func (a *API) checkSudo(c *call, token sudoToken, state password.State) error {
	value := token.value
	if value == "" {
		value = c.URL.Query().Get("sudo_token")
	}
	var s sudo
	plain, err := a.Secrets.OpenString(sudoPurpose, value, c.sudoContext(state))
	if err == nil {
		err = json.Unmarshal(plain, &s)
	}
	if err != nil || s.Subject != c.user.Subject || a.Now().Unix() >= s.Expires {
		return errDenied("api.sudo").because(err)
	}
	return nil
}

type setPasswordRequest struct {
	Sudo sudoToken `json:"sudo_token"`
	Old  text      `json:"old_password"`
	New  text      `json:"new_password"`
}

// setPassword is PATCH user/password. Every other sign-in of the account ends.
func (a *API) setPassword(c *call, req setPasswordRequest) (void, error) {
	if req.New.value == "" {
		return void{}, errMissing("new_password")
	}
	// Which password there is comes first: whatever changes it from here on wins.
	state, err := a.Passwords.State(c.Context(), c.user.Subject)
	if err == nil {
		err = a.again(c)
	}
	mark := ""
	if c.once != nil {
		mark = a.Secrets.Pseudonym(changePurpose, string(c.once))
	}
	switch {
	case err != nil:
	case mark != "" && state.String() == mark: // this very request has set it before
		return void{}, a.Changes.SignOutOthers(c.Context(), c.user.Subject, c.claims.GrantID)
	case req.Sudo.value == "" && req.Old.value != "":
		err = a.confirmPassword(c, req.Old.value)
	default:
		err = a.checkSudo(c, req.Sudo, state)
	}
	if err != nil {
		return void{}, err
	}
	hash, err := a.hash(c, req.New.value)
	if err != nil {
		return void{}, err
	}
	return void{}, a.Changes.SetPassword(c.Context(), c.user, hash, state, mark, c.lang, c.claims.GrantID)
}

type contactRequest struct {
	Email text      `json:"email"`
	Phone text      `json:"phone_number"`
	Sudo  sudoToken `json:"sudo_token"`
	Token text      `json:"verification_token"`
}

// contact is PATCH user/contact: another address, with its proof.
func (a *API) contact(c *call, req contactRequest) (void, error) {
	address, err := emailOf(req.Email, req.Phone)
	if err != nil {
		return void{}, err
	}
	if err := a.confirmed(c, req.Sudo); err != nil {
		return void{}, err
	}
	if err := a.again(c); err != nil {
		return void{}, err
	}
	if address.Identity() == c.user.EmailKey {
		return void{}, nil
	}
	box, err := a.mailbox(c, req.Token)
	if err != nil {
		return void{}, err
	}
	if err := proves(box, req.Email, req.Phone); err != nil {
		return void{}, err
	}
	if !askedBy(box, c.user) {
		return void{}, errTokenOf()
	}
	return void{}, a.changeEmail(c, c.user, box)
}

type deleteRequest struct {
	Sudo sudoToken `json:"sudo_token"`
}

// deleteMe is DELETE user/me.
func (a *API) deleteMe(c *call, req deleteRequest) (void, error) {
	if err := a.confirmed(c, req.Sudo); err != nil {
		return void{}, err
	}
	return void{}, a.Changes.Delete(c.Context(), c.user.Subject)
}

type resetRequest struct {
	Email text `json:"email"`
	Phone text `json:"phone_number"`
	New   text `json:"new_password"`
	Token text `json:"verification_token"`
}

// reset is POST reset: a new password for whoever proves the mailbox. Every sign-in
// of the account ends.
func (a *API) reset(c *call, req resetRequest) (void, error) {
	if req.New.value == "" {
		return void{}, errMissing("new_password")
	}
	box, err := a.mailbox(c, req.Token)
	if err != nil {
		return void{}, err
	}
	if err := proves(box, req.Email, req.Phone); err != nil {
		return void{}, err
	}
	u, state, err := a.resettable(c, box)
	if err != nil {
		return void{}, err
	}
	if box.Spent && state.IsSet() && !state.At.Before(box.SpentAt) {
		return void{}, nil // it was done
	}
	if outdated(box, state) {
		return void{}, errToken()
	}
	hash, err := a.hash(c, req.New.value)
	if err != nil {
		return void{}, err
	}
	if u, err = a.Changes.Prove(c.Context(), u); err != nil {
		return void{}, err
	}
	if err := a.spend(c, box); err != nil {
		return void{}, err
	}
	// Of an account that was changed since it was read, its address perhaps, this is an
	// outage: the same request, sent again, looks anew.
	return void{}, a.Changes.ResetPassword(c.Context(), u, hash, c.lang)
}

// resettable returns the account of the proven mailbox and which password it has.
// That there is no account only the mailbox's owner learns.
func (a *API) resettable(c *call, box verification.Mailbox) (users.User, password.State, error) {
	u, err := a.Users.ByEmail(c.Context(), box.Identity)
	switch {
	case errors.Is(err, users.ErrNotFound):
		return u, password.State{}, errCredentials().because(err)
	case err != nil:
		return u, password.State{}, err
	case u.Disabled:
		return u, password.State{}, errBlocked()
	}
	state, err := a.Passwords.State(c.Context(), u.Subject)
	return u, state, err
}
