connect-title = Conectar Jobber con { $name }
connect-intro = Este enlace es para «{ $label }». Conecta su cuenta de Jobber para pedir una reseña a sus clientes al terminar el trabajo. Más abajo: qué se lee y quién lo recibe.
connect-button = Conectar mi cuenta de Jobber
reconnect-title = Volver a conectar { $account }
reconnect-button = Volver a conectar Jobber
reconnect-lost = Jobber ya no permite que { $name } lea su cuenta, así que no se pide ninguna reseña.
reconnect-kept = Se conservan sus ajustes y las solicitudes que están en espera.
reconnect-anew = La conexión se terminó, y con ella todo lo que estaba en espera. Sus ajustes se conservan; se pedirán reseñas del trabajo que se termine a partir de ahora.

when-question = ¿Cuándo se debe pedir la reseña?
job-completed = Cuando se cierra un trabajo
    .why = Todo el trabajo está hecho.
visit-completed = Después de cada visita completada
    .why = Para trabajos recurrentes que siguen abiertos.
invoice-created = Cuando se crea una factura
    .why = La factura va camino del cliente.
invoice-paid = Cuando se paga una factura
    .why = Solo se pide a quien ha pagado.
recommended = recomendado

read-title = Qué se leerá
read-work = trabajos, visitas y facturas: número, título, dirección, total y si están terminados
read-customer = el nombre, los teléfonos, los correos y las etiquetas del cliente, y si quiere solicitudes de reseña
read-crew = los nombres de pila de quienes hicieron el trabajo
read-given = Con cada solicitud, { $name } recibe el nombre, el teléfono y el correo del cliente, el número, el título, la dirección y el total del trabajo, quién lo hizo y un enlace al trabajo en Jobber.
read-also = { $name } también recibe información sobre { $what }.
watched-clients = cambios en nombres y contactos de clientes
watched-jobs = cambios en trabajos
watched-visits = visitas completadas
watched-invoices = cambios en facturas
told-events = lo que ocurre con { $records }
told-records = lo que ocurre con { $records }, junto con los registros
writes-nothing = No se cambia nada en Jobber.
writes-anything = { $name } también puede escribir en Jobber por usted: todo lo que sus permisos allí admitan.
writes-on = { $name } también puede escribir en Jobber por usted, en { $records }.

record-the-connection = la conexión
record-clients = clientes
record-expenses = gastos
record-invoices = facturas
record-jobs = trabajos
record-marketing = marketing
record-payments = pagos
record-payouts = desembolsos
record-products-and-services = productos y servicios
record-properties = propiedades
record-quotes = presupuestos
record-requests = solicitudes
record-timesheets = hojas de horas
record-users = usuarios
record-visits = visitas
record-tasks = tareas
record-asks = solicitudes de reseña

happens-title = Qué ocurrirá
happens-once = El cliente recibe una sola solicitud, { $when }.
happens-opted-out = Nunca se pide a los clientes que se dieron de baja en Jobber.
happens-before = Nunca se pide por trabajo terminado antes de conectarse.
happens-meanwhile = Se pide también por el trabajo terminado entretanto, salvo que tenga más de { $age } o que usted elija arriba otro momento.
trouble-question = ¿No pasó nada en Jobber?
trouble-answer = Solo un administrador de la cuenta puede conectar una aplicación. Si usted lo es, pregunte a { $whom }: puede que la aplicación ya no admita más cuentas o que el plan de Jobber de usted no permita aplicaciones.
button-leads = El botón le lleva a Jobber, donde inicia sesión y permite el acceso. Puede terminar la conexión en Jobber en cualquier momento, en Apps.
privacy = Privacidad

when-at-once = justo después de terminar el trabajo
when-after = aproximadamente { $delay } después de terminar el trabajo
hours-between = entre las { $from } y las { $to }
hours-not-on-weekdays = no entre semana
hours-saturday = sábados { $hours }
hours-sunday = domingos { $hours }
hours-never = nunca
minutes = { $count ->
    [one] 1 minuto
   *[other] { $count } minutos
}
hours = { $count ->
    [one] 1 hora
   *[other] { $count } horas
}
days = { $count ->
    [one] 1 día
   *[other] { $count } días
}
list-last = { $all } y { $last }

connected-title = { $account } está conectada
connected-right = ¿Es esta la cuenta correcta?
connected-other = El enlace se creó para «{ $label }». Si inició sesión en otra cuenta por error, termine la conexión en Jobber, en Apps, y pida a { $name } un enlace nuevo.
next-title = Qué pasa ahora
next-asked = { $trigger }, se pide una reseña al cliente, { $when }.
next-nothing = No tiene que hacer nada. Puede cerrar esta página.
end-title = Cómo terminarla
end-how = En Jobber, en Apps, en cualquier momento.
questions = ¿Preguntas? Consulte a { $name }: { $contact }

front-text = Los contratistas conectan Jobber aquí con un enlace personal. Si tiene uno, ábralo desde el mensaje en que lo recibió.
open-again = Abrir el enlace de nuevo

nothing-connected = Esta página muestra lo último que conectó este navegador, mientras dure la conexión.
    .title = No hay nada conectado
    .remedy = Si conectó en otro navegador, mire allí. Si la conexión terminó, pida un enlace nuevo.
no-such-page = La dirección está incompleta o es incorrecta.
    .title = Página no encontrada
    .remedy = Abra el enlace de nuevo desde el mensaje en que lo recibió.
too-many = Hubo demasiadas solicitudes desde su dirección.
    .title = Un momento, por favor
    .remedy = Espere unos segundos y abra la página de nuevo.
no-cookie = Esta página necesita una cookie para reconocerle cuando vuelva de Jobber.
    .title = Su navegador no envió su cookie
    .remedy = Permita las cookies para este sitio, abra el enlace de nuevo y siga en el mismo navegador.
bad-form = Su navegador envió un formulario que no corresponde a esta página.
    .title = Eso no vino de esta página
    .remedy = Abra el enlace de nuevo y pulse el botón.
denied = No permitió el acceso en Jobber, así que no se guardó nada.
    .title = No se conectó nada
    .remedy = Si fue un error, abra el enlace de nuevo en este navegador y permita el acceso.
marketplace = Empezó en Jobber, pero esta aplicación se conecta con un enlace personal.
    .title = Falta un paso
    .remedy = Pida su enlace a { $name } y ábralo. No se guardó nada.
no-tokens = Permitió el acceso, pero Jobber no nos lo confirmó. No se guardó nada.
    .title = Jobber no completó la conexión
    .remedy = Abra el enlace de nuevo en este navegador dentro de un minuto. Si vuelve a ocurrir, avise a { $name }.
code-refused = El permiso que dio Jobber ya se usó o es demasiado antiguo. No se guardó nada.
    .title = Jobber no aceptó este intento
    .remedy = Abra el enlace de nuevo en este navegador y pulse su botón otra vez.
broken = No es culpa suya, y no se guardó nada.
    .title = Algo falla aquí
    .remedy = Inténtelo de nuevo dentro de un minuto. Si vuelve a ocurrir, avise a { $name }.
link-unknown = La dirección está incompleta o el enlace no se creó aquí.
    .title = Este enlace no se conoce
    .remedy = Ábralo de nuevo desde el mensaje en que lo recibió o pida uno nuevo.
link-expired = Los enlaces funcionan durante un tiempo limitado.
    .title = Este enlace ha caducado
    .remedy = Pida uno nuevo a { $name }.
link-used = Conectó una cuenta, y un enlace funciona una sola vez.
    .title = Este enlace ya se usó
    .remedy = Si fue usted, todo está bien. Si no, avise a { $name }.
link-revoked = { $name } lo ha retirado.
    .title = Este enlace fue retirado
    .remedy = Pida uno nuevo.
link-elsewhere = Alguien pulsó su botón en otro navegador o en otro dispositivo.
    .title = Este enlace se está usando en otro navegador
    .remedy = Continúe allí. Si no puede, abra el enlace aquí de nuevo un cuarto de hora después.
unknown-state = Jobber le envió de vuelta, pero este intento ya se completó o ha caducado. No se cambió nada.
    .title = Ya se completó o tardó demasiado
    .remedy = Si su cuenta aún no está conectada, abra el enlace de nuevo.
other-browser = Empezó en un navegador y volvió de Jobber en otro. No se guardó nada.
    .title = Use un solo navegador, por favor
    .remedy = Abra el enlace de nuevo y siga en el mismo navegador.
other-account = Inició sesión en una cuenta distinta de la de este enlace. No se guardó nada. El enlace es para:
    .title = Esta es otra cuenta de Jobber
    .remedy = Cierre la sesión en Jobber, inicie sesión en esa cuenta y abra el enlace de nuevo.
