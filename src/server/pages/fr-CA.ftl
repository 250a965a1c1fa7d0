connect-title = Connecter Jobber à { $name }
connect-intro = Ce lien est pour « { $label } ». Il connecte votre compte Jobber, pour demander un avis à vos clients quand le travail est terminé. Plus bas : ce qui est lu, et qui le reçoit.
connect-button = Connecter mon compte Jobber
reconnect-title = Reconnecter { $account }
reconnect-button = Reconnecter Jobber
reconnect-lost = Jobber ne permet plus à { $name } de lire votre compte : personne n’est donc invité à laisser un avis.
reconnect-kept = Vos réglages et les demandes en attente sont conservés.
reconnect-anew = La connexion a été fermée, et avec elle tout ce qui attendait. Vos réglages sont conservés; les clients seront invités pour les travaux terminés à partir de maintenant.

when-question = Quand faut-il inviter les clients?
job-completed = Quand un travail est fermé
    .why = Tout le travail est fait.
visit-completed = Après chaque visite terminée
    .why = Pour les travaux récurrents qui restent ouverts.
invoice-created = Quand une facture est créée
    .why = La facture est en route vers le client.
invoice-paid = Quand une facture est payée
    .why = Seuls les clients qui ont payé sont invités.
recommended = recommandé

read-title = Ce qui sera lu
read-work = travaux, visites et factures : numéro, titre, adresse, total, et s’ils sont terminés
read-customer = le nom, les téléphones, les courriels et les étiquettes du client, et s’il veut recevoir des demandes d’avis
read-crew = les prénoms des personnes qui ont fait le travail
read-given = Pour chaque demande, { $name } reçoit le nom, le téléphone et le courriel du client, le numéro, le titre, l’adresse et le total du travail, qui l’a fait, et un lien vers le travail dans Jobber.
read-also = { $name } est aussi informé de ceci : { $what }.
watched-clients = changements de noms et de coordonnées de clients
watched-jobs = changements de travaux
watched-visits = visites terminées
watched-invoices = changements de factures
told-events = événements ({ $records })
told-records = événements et fiches ({ $records })
writes-nothing = Rien n’est modifié dans Jobber.
writes-anything = { $name } peut aussi écrire dans Jobber pour vous : tout ce que ses permissions y autorisent.
writes-on = { $name } peut aussi écrire dans Jobber pour vous ({ $records }).

record-the-connection = la connexion
record-clients = clients
record-expenses = dépenses
record-invoices = factures
record-jobs = travaux
record-marketing = marketing
record-payments = paiements
record-payouts = versements
record-products-and-services = produits et services
record-properties = propriétés
record-quotes = soumissions
record-requests = demandes
record-timesheets = feuilles de temps
record-users = utilisateurs
record-visits = visites
record-tasks = tâches
record-asks = demandes d’avis

happens-title = Ce qui va se passer
happens-once = Le client reçoit une seule demande, { $when }.
happens-opted-out = Les clients qui se sont désabonnés dans Jobber ne sont jamais invités.
happens-before = Les travaux terminés avant la connexion ne donnent jamais lieu à une demande.
happens-meanwhile = Les travaux terminés entre-temps donnent lieu à une demande, sauf s’ils datent de plus de { $age } ou si vous choisissez un autre moment plus haut.
trouble-question = Rien ne s’est passé dans Jobber?
trouble-answer = Seul un administrateur du compte peut connecter une application. Si vous l’êtes, demandez à { $whom } : son application est peut-être pleine, ou votre forfait Jobber ne permet pas les applications.
button-leads = Le bouton vous mène à Jobber, où vous ouvrez une session et autorisez l’accès. Vous pouvez fermer la connexion dans Jobber en tout temps, sous Apps.
privacy = Confidentialité

when-at-once = dès que le travail est terminé
when-after = environ { $delay } après la fin du travail
hours-between = entre { $from } et { $to }
hours-not-on-weekdays = pas en semaine
hours-saturday = le samedi { $hours }
hours-sunday = le dimanche { $hours }
hours-never = jamais
minutes = { $count ->
    [one] { $count } minute
   *[other] { $count } minutes
}
hours = { $count ->
    [one] { $count } heure
   *[other] { $count } heures
}
days = { $count ->
    [one] { $count } jour
   *[other] { $count } jours
}
list-last = { $all } et { $last }

connected-title = { $account } est connecté
connected-right = Est-ce le bon compte?
connected-other = Le lien a été créé pour « { $label } ». Si vous avez ouvert une session dans un autre compte que prévu, fermez la connexion dans Jobber sous Apps, et demandez un nouveau lien à { $name }.
next-title = La suite
next-asked = { $trigger }, le client est invité à laisser un avis, { $when }.
next-nothing = Vous n’avez rien à faire. Vous pouvez fermer cette page.
end-title = Pour y mettre fin
end-how = Dans Jobber, sous Apps, en tout temps.
questions = Des questions? Demandez à { $name } : { $contact }

front-text = Les entrepreneurs connectent Jobber ici avec un lien personnel. Si vous en avez un, ouvrez-le à partir du message qui le contenait.
open-again = Ouvrir le lien de nouveau

nothing-connected = Cette page montre ce que ce navigateur a connecté en dernier, tant que la connexion existe.
    .title = Rien n’est connecté
    .remedy = Si vous avez utilisé un autre navigateur, regardez là. Si la connexion a pris fin, demandez un nouveau lien.
no-such-page = L’adresse est incomplète ou erronée.
    .title = Page introuvable
    .remedy = Ouvrez le lien de nouveau à partir du message qui le contenait.
too-many = Il y a eu trop de demandes depuis votre adresse.
    .title = Un instant, s’il vous plaît
    .remedy = Attendez quelques secondes, puis ouvrez la page de nouveau.
no-cookie = Cette page a besoin d’un témoin (cookie) pour vous reconnaître à votre retour de Jobber.
    .title = Votre navigateur n’a pas envoyé son témoin
    .remedy = Permettez les témoins pour ce site, ouvrez le lien de nouveau et restez dans le même navigateur.
bad-form = Votre navigateur a envoyé un formulaire qui ne correspond pas à cette page.
    .title = Cela ne venait pas de cette page
    .remedy = Ouvrez le lien de nouveau et appuyez sur le bouton.
denied = Vous n’avez pas autorisé l’accès dans Jobber, donc rien n’a été enregistré.
    .title = Rien n’a été connecté
    .remedy = Si c’était une erreur, ouvrez le lien de nouveau dans ce navigateur et autorisez l’accès.
marketplace = Vous êtes parti de Jobber, mais cette application se connecte avec un lien personnel.
    .title = Il manque une étape
    .remedy = Demandez votre lien à { $name } et ouvrez-le. Rien n’a été enregistré.
no-tokens = Vous avez autorisé l’accès, mais Jobber ne nous l’a pas confirmé. Rien n’a été enregistré.
    .title = Jobber n’a pas terminé la connexion
    .remedy = Ouvrez le lien de nouveau dans ce navigateur dans une minute. Si cela se répète, dites-le à { $name }.
code-refused = La permission donnée par Jobber a déjà servi ou est trop ancienne. Rien n’a été enregistré.
    .title = Jobber n’a pas accepté cet essai
    .remedy = Ouvrez le lien de nouveau dans ce navigateur et appuyez encore une fois sur son bouton.
broken = Ce n’est pas votre faute, et rien n’a été enregistré.
    .title = Quelque chose ne va pas ici
    .remedy = Réessayez dans une minute. Si cela se répète, dites-le à { $name }.
link-unknown = L’adresse est incomplète, ou le lien n’a pas été créé ici.
    .title = Ce lien est inconnu
    .remedy = Ouvrez-le de nouveau à partir du message qui le contenait, ou demandez-en un nouveau.
link-expired = Les liens fonctionnent pendant un temps limité.
    .title = Ce lien a expiré
    .remedy = Demandez-en un nouveau à { $name }.
link-used = Il a connecté un compte, et un lien ne sert qu’une fois.
    .title = Ce lien a déjà servi
    .remedy = Si c’était vous, tout va bien. Sinon, dites-le à { $name }.
link-revoked = { $name } l’a repris.
    .title = Ce lien a été retiré
    .remedy = Demandez-en un nouveau.
link-elsewhere = Quelqu’un a appuyé sur son bouton dans un autre navigateur ou sur un autre appareil.
    .title = Ce lien est utilisé dans un autre navigateur
    .remedy = Continuez là. Si vous ne le pouvez pas, ouvrez le lien ici de nouveau un quart d’heure plus tard.
unknown-state = Jobber vous a renvoyé ici, mais cet essai était déjà terminé ou a expiré. Rien n’a été modifié.
    .title = C’était déjà fait, ou trop long
    .remedy = Si votre compte n’est pas encore connecté, ouvrez le lien de nouveau.
other-browser = Vous avez commencé dans un navigateur et êtes revenu de Jobber dans un autre. Rien n’a été enregistré.
    .title = Un seul navigateur, s’il vous plaît
    .remedy = Ouvrez le lien de nouveau et restez dans le même navigateur.
other-account = Vous avez ouvert une session dans un autre compte que celui de ce lien. Rien n’a été enregistré. Le lien est pour :
    .title = C’est un autre compte Jobber
    .remedy = Fermez la session dans Jobber, ouvrez-en une dans ce compte, et ouvrez le lien de nouveau.
