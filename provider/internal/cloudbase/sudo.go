package cloudbase

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/lettergate/lettergate/provider/internal/password"
	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/users"
)

const (
	sudoPurpose secrets.Purpose = "cloudbase sudo"
	sudoLife                    = 10 * time.Minute
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
	plain, err := json.Marshal(sudo{c.user.Subject, a.Now().Add(sudoLife).Unix()})
	if err != nil {
		return sudoResponse{}, err
	}
	return sudoResponse{a.Secrets.SealString(sudoPurpose, plain, []byte(c.claims.GrantID)), seconds(sudoLife)}, nil
}

func (a *API) confirmPassword(c *call, value string) error {
	err := a.Passwords.Verify(c.Context(), password.Try{
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
	if box.Identity != c.user.EmailKey || box.Requester != "" && box.Requester != c.user.Subject {
		return errTokenOf()
	}
	return a.spend(c, box)
}

// checkSudo refuses whoever has not just confirmed who they are. The token may be in
// the body or, as the documentation of the HTTP API has it, in the query.
func (a *API) checkSudo(c *call, token sudoToken) error {
	value := token.value
	if value == "" {
		value = c.URL.Query().Get("sudo_token")
	}
	var s sudo
	plain, err := a.Secrets.OpenString(sudoPurpose, value, []byte(c.claims.GrantID))
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
	var err error
	if req.Sudo.value == "" && req.Old.value != "" {
		err = a.confirmPassword(c, req.Old.value)
	} else {
		err = a.checkSudo(c, req.Sudo)
	}
	if err != nil {
		return void{}, err
	}
	hash, err := a.hash(c, req.New.value)
	if err != nil {
		return void{}, err
	}
	return void{}, a.Changes.SetPassword(c.Context(), c.user, hash, c.lang, c.claims.GrantID)
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
	if err := a.checkSudo(c, req.Sudo); err != nil {
		return void{}, err
	}
	box, err := a.mailbox(c, req.Token)
	if err != nil {
		return void{}, err
	}
	if box.Identity != address.Identity() || box.Requester != "" && box.Requester != c.user.Subject {
		return void{}, errTokenOf()
	}
	return void{}, a.changeEmail(c, c.user, address, box)
}

type deleteRequest struct {
	Sudo sudoToken `json:"sudo_token"`
}

// deleteMe is DELETE user/me.
func (a *API) deleteMe(c *call, req deleteRequest) (void, error) {
	if err := a.checkSudo(c, req.Sudo); err != nil {
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
	if req.Email.value != "" {
		address, err := emailOf(req.Email, req.Phone)
		if err != nil {
			return void{}, err
		}
		if address.Identity() != box.Identity {
			return void{}, errTokenOf()
		}
	}
	u, err := a.Users.ByEmail(c.Context(), box.Identity)
	switch {
	case errors.Is(err, users.ErrNotFound):
		return void{}, errCredentials().because(err)
	case err != nil:
		return void{}, err
	case u.Disabled:
		return void{}, errBlocked()
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
	return void{}, a.Changes.SetPassword(c.Context(), u, hash, c.lang, "")
}
