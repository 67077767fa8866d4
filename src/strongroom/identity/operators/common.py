"""Passwords that everybody tries first. A password of twelve characters is common when it is one of
these words with decoration: the list holds the words, `passwords.py` takes the decoration off.

No list of breached passwords is shipped or asked over the network: a password here never counts
without a one-time code, and ten wrong tries end the guessing.
"""

from __future__ import annotations

WORDS = frozenset(
    """
    password passwort passwd motdepasse contrasena contraseña senha parola wachtwoord haslo losenord
    passphrase secret secrets geheim letmein letmeinnow openup opensesame changeme changemenow
    changeit default welcome welcomeback willkommen bienvenue bienvenido hello helloworld hallo
    admin administrator root superuser operator operators user guest test testing tester demo
    temporary temp login signin access master manager security secure strongroom vault payment
    payments paymentservice merchant gateway bank banking money credit creditcard debit visa
    mastercard company corporate office internet computer server system database network
    qwerty qwertyuiop qwertz qwertzuiop azerty azertyuiop asdfgh asdfghjkl zxcvbn zxcvbnm
    qazwsx qazwsxedc wsxedc poiuytrewq iloveyou loveyou mylove lovely love sunshine princess
    princesa dragon monkey shadow superman batman spiderman starwars pokemon football soccer
    baseball basketball hockey golf tennis jordan michael jennifer jessica ashley daniel thomas
    robert charlie andrew joshua matthew nicole summer winter spring autumn january february march
    april june july august september october november december monday tuesday wednesday thursday
    friday saturday sunday whatever freedom trustno trustnoone nothing killer hunter ranger
    buster harley ferrari porsche mercedes mustang corvette london berlin paris madrid newyork
    america england deutschland germany france espana liverpool arsenal chelsea barcelona juventus
    cheese cookie chocolate banana coffee orange purple silver golden diamond flower butterfly
    angel angels blessed jesus jesuschrist heaven abc abcabc abcd abcde abcdef abcdefg abcdefgh
    abcdefghij abcdefghijkl aaa aaaaaa aaaaaaaaaaaa correcthorsebatterystaple
    """.split()
)
